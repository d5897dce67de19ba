"""The teacher: what could be known, how asking would go, what was best, what is written down."""

import json
from math import isclose
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from coordinator.decisionsfile import read_decisions
from coordinator.selection.advice import SHARES, Advice
from firmware_sim.beliefs import Seen, beliefs
from firmware_sim.cli import app
from firmware_sim.emulation import Emulation, Settings, emulate
from firmware_sim.foresight import Ask, foresee
from firmware_sim.hidden import Fault
from firmware_sim.journal import Line
from firmware_sim.population import Client, first_board, populate
from firmware_sim.prices import aims, prices_of
from firmware_sim.scenario import Hidden, Scenario, parse, with_policy
from firmware_sim.teach import when_to_stop
from firmware_sim.teacher import Teacher
from firmware_sim.value import Asked, Future, Prospect, Usual, Values, worth
from proto.errors import ConfigError

SMALL = """
name = "small"
lasts = "20h"
sealing = "costed"
journals = true
wordings = "taught"
[[group]]
name = "pis"
count = 8
board = "pi-4"
rows = [30, 34]
[work]
components = 2
effort = 20000.0
skew = 5.0
[work.model]
reps = 1
[work.training]
steps = 4
[work.rounds]
count = 3
quorum = 2
cohort = 2
deadline = "60m"
[hidden]
weak-supply = 0.3
within = "1m"
"""
ILL = Fault("weak-supply", -36000.0)
HIDDEN = Hidden(weak_supply=0.1, dying_card=0.1)


def scenario(more: str = "") -> Scenario:
    return parse(SMALL + more)


def client(fault: Fault | None = None) -> Client:
    return replace(populate(scenario(), 1)[0], fault=fault)


def ask(work: float = 600.0, needs: float = 300.0) -> Ask:
    return Ask(at=10.0, work=work, size=2000, needs_mib=needs, deadline=3600.0)


def weights(*lines: Line, **seen: object) -> dict[str, float]:
    """What is believed of each fault."""
    known = Seen(at=7200.0, lines=[(7000.0 - at, line) for at, line in enumerate(lines)], **seen)
    found: dict[str, float] = {}
    for fault, weight in beliefs(HIDDEN, first_board(client()), known, 5):
        name = fault.name if fault else "none"
        found[name] = found.get(name, 0.0) + weight
    return found


SIGN = Line("browns out", 60.0, "sign", "weak-supply", "terse")
ROUTINE = Line("cron", 60.0, "routine", "", "daemon")
STALE = Line("browned out", 60.0, "stale", "weak-supply", "daemon")


def test_a_sign_is_believed_and_old_news_and_routine_are_not():
    assert weights(SIGN)["weak-supply"] == pytest.approx(1.0)
    assert weights(ROUTINE, ROUTINE, ROUTINE)["none"] > weights(ROUTINE)["none"] > 0.8
    assert weights(STALE)["weak-supply"] < 0.1


def test_misses_and_slowness_are_evidence_too():
    assert weights(ROUTINE, misses=3)["none"] < 0.5 * weights(ROUTINE)["none"]
    slow = weights(ROUTINE, slower=2.5, asked_at=7200.0)
    assert slow["weak-supply"] > 2 * weights(ROUTINE, slower=1.0, asked_at=7200.0)["weak-supply"]


def test_what_is_believed_adds_up_to_one():
    assert isclose(sum(weights(SIGN, ROUTINE).values()), 1.0)
    assert isclose(sum(weights(STALE, misses=2).values()), 1.0)


def test_a_weak_supply_makes_work_slower_and_costs_more():
    healthy, ill = (
        foresee(client(fault), first_board(client()), ask(), 3) for fault in (None, ILL)
    )
    assert healthy.delivered
    assert healthy.seconds == pytest.approx(600.0, rel=0.02)
    assert ill.seconds > 2 * healthy.seconds
    assert ill.joules > healthy.joules


def test_a_card_that_is_dying_loses_most_updates_after_all_the_work():
    dying = client(Fault("dying-card", -36000.0))
    tries = [foresee(dying, first_board(dying), ask(), draw) for draw in range(60)]
    assert 0.6 < sum(not t.delivered for t in tries) / 60 < 0.95
    assert all(t.joules > 0 for t in tries)


def test_training_that_does_not_fit_is_over_at_once():
    assert foresee(client(), first_board(client()), ask(needs=1e6), 1).seconds < 5


def test_what_is_foreseen_of_a_healthy_box_is_what_the_emulation_then_does():
    made = Emulation(with_policy(replace(scenario(), hidden=Hidden()), "agent"), 3)
    seen: dict[tuple[int, str], float] = {}

    class Watch:
        def thinking(self, state, now):
            return False

        def advise(self, state, candidates, request, now):
            for c in candidates:
                asked = made.ask_of(c.box, 4, request.bytes_each, state.rules.deadline)
                machine = made.machines[c.box]
                told = foresee(machine.client, machine.to(asked.at), asked, 0)
                seen[request.turn, c.box] = told.seconds
            return Advice(remark="only looks")

        def close(self):
            """Nothing is open."""

    made.fleet.advisor = Watch()
    outcome = made.run()
    first = next(r for r in outcome.rounds if r.kind == "train")
    slowest = max(seen[first.turn, f"c{number:06d}"] for number in first.included)
    assert first.closed_s - first.opened_s == pytest.approx(slowest, rel=0.05)


class Known:
    """Updates whose gain is the sum of each box's own; the part of it that its steps bring."""

    def __init__(self, gains: dict[str, float], by_class: tuple[float, ...]) -> None:
        self.gains, self.by_class = gains, by_class

    def gain(self, boxes: frozenset[Asked]) -> float:
        return sum(self.gains[box] * self.by_class[place] for box, place in boxes)


USUAL = Usual(seconds=100.0, joules=100.0, paid_bytes=1000, gain=1.0)


SLOWLY = (0.45, 1.0, 1.2, 1.3)
"""Gain by class of steps: further ones bring little."""


def values(
    prospects: dict[str, Prospect],
    objective: str = "",
    gains: dict[str, float] | None = None,
    by_class: tuple[float, ...] = SLOWLY,
    cohort: int = 2,
) -> Values:
    boxes = dict.fromkeys(prospects, 1.0)
    by_steps = {
        (box, place): p._replace(seconds=share * p.seconds, joules=share * p.joules)
        for box, p in prospects.items()
        for place, share in enumerate(SHARES)
    }
    whose = dict(zip(prospects, prospects, strict=True))
    future = Future(by_steps, boxes, whose, cohort=cohort)
    known = Known(gains or dict.fromkeys(prospects, 0.5), by_class)
    return Values(future, known, prices_of(objective), USUAL)


def names(chosen: list[Asked]) -> list[str]:
    return sorted(box for box, _ in chosen)


def chances(found: Values, boxes: list[str], best: list[Asked]) -> dict[str, float]:
    return {box: join.chance for box, join in found.joins(boxes, best).items()}


def test_the_best_set_leaves_out_who_fails_and_who_is_slow():
    prospects = {
        "a": Prospect(True, 100, 100, 0),
        "b": Prospect(True, 110, 100, 0),
        "c": Prospect(True, 900, 100, 0),
        "d": Prospect(False, 3600, 500, 0),
    }
    found = values(prospects)
    best = found.best(list(prospects), 2, frozenset())
    assert names(best) == ["a", "b"]
    joins = chances(found, list(prospects), best)
    assert joins["a"] > 0.9
    assert 0.1 > joins["c"] > joins["d"]
    assert "d" in names(found.best(list(prospects), 2, frozenset("d")))


def test_the_objective_decides_between_dear_bytes_and_slowness():
    prospects = {"paid": Prospect(True, 100, 100, 1000), "slow": Prospect(True, 200, 100, 0)}
    for sentence, best in (("as fast as you can", "paid"), ("do not pay for traffic", "slow")):
        found = values(prospects, sentence, cohort=1)
        assert names(found.best(list(prospects), 1, frozenset())) == [best]


def test_equal_boxes_join_with_even_chances_and_a_helpful_update_more_often():
    prospects = {box: Prospect(True, 100, 100, 0) for box in "abcd"}
    even = values(prospects)
    assert set(chances(even, list("abcd"), even.best(list("ab"), 2, frozenset())).values()) == {0.5}
    helped = values(prospects, gains={"a": 0.9, "b": 0.5, "c": 0.5, "d": 0.1})
    joins = chances(helped, list("abcd"), helped.best(list("abcd"), 2, frozenset()))
    assert joins["a"] > 0.8 > joins["b"] > joins["d"]


def test_fewer_boxes_are_asked_where_a_further_one_only_costs_energy():
    prospects = {box: Prospect(True, 100, 100, 0) for box in "abcd"}
    for sentence, asked in (("no hurry, but every joule counts", 3), ("as fast as you can", 4)):
        found = values(prospects, sentence, dict.fromkeys("abcd", 0.01), cohort=4)
        best = found.best(list("abcd"), 3, frozenset())
        assert len(best) == asked
    assert all(join.chance == 1.0 for join in found.joins(list("abcd"), best).values())


def test_steps_are_worth_their_cost_or_are_not_asked_for():
    prospects = {box: Prospect(True, 100, 100, 0) for box in "abc"}
    little = values(prospects)
    assert {place for _, place in little.best(list("ab"), 2, frozenset())} <= {0, 1}
    much = values(prospects, gains=dict.fromkeys("abc", 0.25), by_class=(0.1, 1.0, 4.0, 16.0))
    assert {place for _, place in much.best(list("ab"), 2, frozenset())} == {3}
    shares = much.joins(list("abc"), much.best(list("ab"), 2, frozenset()))["c"].steps
    assert isclose(sum(shares), 1.0)
    assert shares.index(max(shares)) == 3


def test_a_slow_box_is_given_fewer_steps_than_those_it_would_keep_waiting():
    prospects = {box: Prospect(True, 95, 100, 0) for box in "abc"} | {
        "slow": Prospect(True, 190, 100, 0)
    }
    best = dict(values(prospects, cohort=4).best(list(prospects), 4, frozenset()))
    assert best["slow"] < min(best[box] for box in "abc")


def test_worth_is_a_half_for_an_ordinary_box_and_nothing_for_one_that_fails():
    ordinary = Prospect(True, 95, 100, 0)
    assert worth(ordinary, prices_of(""), USUAL) == pytest.approx(0.5)
    assert worth(Prospect(False, 95, 100, 0), prices_of(""), USUAL) == 0.0


def test_prices_add_up_and_no_sentence_is_both_taught_and_held_out():
    taught = [s for aim in aims().values() for s in aim.taught]
    held_out = [s for aim in aims().values() for s in aim.held_out]
    assert len(set(taught + held_out)) == len(taught) + len(held_out)
    with pytest.raises(ConfigError, match="objectives"):
        prices_of("make me rich")


def test_it_is_time_to_stop_once_rounds_bring_nothing():
    stops = when_to_stop([1.0, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert stops[:2] == [0.0, 0.0]
    assert stops[2:4] == [1.0, 1.0]
    assert stops[4:] == [None, None, None]


def test_the_teacher_as_a_policy_avoids_boxes_that_fail():
    wide = parse(SMALL.replace("count = 3", "count = 10").replace("20000", "100000"))
    plain = emulate(wide, 2, Settings(traced=False))
    taught = emulate(with_policy(wide, "agent"), 2, Settings(traced=False, advisor=Teacher))
    assert any(c.fault for c in populate(wide, 2))
    assert taught.ended_s < 0.95 * plain.ended_s


def test_the_command_writes_decisions_and_goes_on_where_it_was_interrupted(tmp_path: Path):
    path, out = tmp_path / "small.toml", tmp_path / "decisions.jsonl"
    path.write_text(SMALL)
    call = ["teach", str(path), "-o", str(out), "--first", "7", "--json", "--fleets"]
    found = CliRunner().invoke(app, [*call, "1"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["decisions"] == 3
    header, decisions = read_decisions(out)
    made = list(decisions)
    assert header.teacher == "hindsight, 8 futures"
    assert {d.fleet for d in made} == {"small/7"}
    assert header.steps == (2, 4, 8, 16)
    for decision in made:
        assert decision.progress["done"] == decision.round / 3
        for client_ in decision.clients:
            assert 0 <= client_.join <= 1
            assert client_.worth is not None
            assert sum(client_.steps) == pytest.approx(1.0, abs=0.001)
    whole = out.read_bytes()
    out.write_bytes(whole[:-40])
    assert CliRunner().invoke(app, [*call, "1"]).exit_code == 0
    assert out.read_bytes() == whole


def test_a_scenario_whose_objective_has_no_price_is_refused(tmp_path: Path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL.replace("[work]", '[work]\nobjective = "be good"'))
    found = CliRunner().invoke(app, ["teach", str(path), "-o", str(tmp_path / "x")])
    assert isinstance(found.exception, ConfigError)
