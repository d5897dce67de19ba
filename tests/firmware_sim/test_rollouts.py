"""Sets of clients judged by some rounds ahead: which sets, in which future, what a set is worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from coordinator.decisionsfile import read_decisions
from firmware_sim.cli import app
from firmware_sim.foresight import Ask, Prospect
from firmware_sim.gains import Move, Updates
from firmware_sim.prices import prices_of
from firmware_sim.rollouts import Course, Rollouts, sets_of
from firmware_sim.value import OWN, Asked, Future, Join, Usual
from quantization.arrays import Array
from tests.firmware_sim.test_teacher import SMALL

BOXES = tuple("abcdefghij")
GOAL = np.array([4.0, 0.0], np.float32)
STEPS = {"e": np.array([0.0, 1.0], np.float32)}
"""Which way a box's data lead; the others' lead to the goal."""
USUAL = Usual(seconds=100.0, joules=100.0, paid_bytes=1000, gain=5.0)


def loss(model: Array) -> float:
    return float(np.square(model - GOAL).sum())


def train(_model: Array, boxes: Sequence[str]) -> Mapping[str, Move]:
    return {box: (STEPS.get(box, np.array([1.0, 0.0], np.float32)), 30) for box in boxes}


def way(box: str, ask: Ask) -> Prospect:
    """Box f is on line in the first minutes alone; box g is slow."""
    late = box == "f" and ask.at > 150.0
    return Prospect(not late, 3600.0 if late else 180.0 if box == "g" else 95.0, 100.0, 0)


def course(stalest: str = "abcdijgh") -> Course:
    asks = {(box, OWN): Ask(100.0, 1.0, 1, 1.0, 3600.0) for box in BOXES}
    prospects = {each: way(each[0], ask) for each, ask in asks.items()}
    same = dict(zip(BOXES, BOXES, strict=True))
    future = Future(prospects, dict.fromkeys(BOXES, 1.0), same, cohort=2, quorum=1)
    return Course(future, way, asks, tuple(stalest))


def rollouts() -> Rollouts:
    start = np.zeros(2, np.float32)
    moves = {(box, OWN): move for box, move in train(start, BOXES).items()}
    return Rollouts(Updates(start, loss, moves), train, prices_of(""), USUAL)


def pair(boxes: str) -> list[Asked]:
    return [(box, OWN) for box in boxes]


def value(boxes: str) -> float:
    return rollouts().value(pair(boxes), course())


def test_a_set_is_worth_what_it_and_the_rounds_after_it_bring():
    assert value("gh") < value("ah")  # slow itself
    assert value("eh") < value("ah")  # leads astray
    assert value("ab") == value("ab")


def test_a_box_that_will_be_gone_is_asked_now_rather_than_waited_for_later():
    soon = course("fabc")
    assert rollouts().value(pair("fa"), soon) > rollouts().value(pair("bc"), soon) + 1.0


def test_the_sets_hold_the_greedy_one_first_the_hand_rules_and_whoever_is_overdue():
    sets = sets_of(pair("gh"), course(), frozenset("h"), 3)
    assert sets[0] == pair("gh")
    assert pair("ha") in sets
    assert all(("h", OWN) in chosen for chosen in sets)
    assert len({tuple(chosen) for chosen in sets}) == len(sets) >= 4


def test_chances_move_halfway_to_the_sets_that_turn_out_well():
    known = {box: Join(0.5, (0.0, 1.0, 0.0, 0.0)) for box in BOXES}
    joins = rollouts().joins(known, [pair("ab"), pair("eg")], course())
    assert joins["a"].chance > 0.6
    assert joins["a"].chance + joins["e"].chance == pytest.approx(1.0)
    assert joins["c"].chance == 0.25


def test_the_command_teaches_by_rollouts_too(tmp_path: Path):
    path, out = tmp_path / "small.toml", tmp_path / "decisions.jsonl"
    path.write_text(SMALL.replace("cohort = 2", "cohort = 3"))
    call = ["teach", str(path), "-o", str(out), "--first", "7", "--fleets", "1"]
    found = []
    for more in ((), ("--rollouts",)):
        assert CliRunner().invoke(app, [*call, *more]).exit_code == 0
        header, decisions = read_decisions(out)
        found.append([c.join for decision in decisions for c in decision.clients])
        out.unlink()
    assert header.teacher == "hindsight, 8 futures, rollouts"
    assert found[0] != found[1]
    assert all(0 <= join <= 1 for join in found[1])
