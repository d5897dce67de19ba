"""Steps and stopping by the language model's loss, through the table of rounds."""

import msgspec

from coordinator.jobstate import (
    Consider,
    Folded,
    JobState,
    OfferTo,
    Open,
    Phase,
    Publish,
    Published,
    Restarted,
)
from coordinator.rulebook import NUDGE
from coordinator.selection.candidates import Candidate, Standing
from coordinator.selection.regulators import Regulation
from proto.messages import EVALUATE, TRAIN
from tests.coordinator.test_rounds import NAMES, BoxReady, Run, Tick, store_all, waiting

BEHIND = Standing(10, 0.9, 0.3, 0.5)
EVEN = Standing(10, 0.3, 0.3, 0.5)


def regulated(**changes) -> Run:
    """A job in its third round, whose box b is three times as far from right as its teacher."""
    run = waiting(rounds=9, steps=10, regulation=Regulation(rule="adaptive"), **changes)
    run.state = msgspec.structs.replace(run.state, round=3)
    run.turn = 1
    return run


def considered(run: Run) -> list:
    boxes = tuple(Candidate(n, 40, 1, last=BEHIND if n == "b" else EVEN) for n in NAMES)
    return run.do(Consider(boxes, run.turn))


def test_a_box_behind_its_teacher_is_offered_more_steps_and_the_plan_says_so():
    opened, *offers = considered(regulated())
    assert isinstance(opened, Open)
    assert opened.plan.steps == {"b": 30}
    assert offers == [OfferTo("a", 120.0), OfferTo("b", 120.0, 30), OfferTo("c", 120.0)]


def test_an_offer_that_is_repeated_asks_for_the_same_steps_even_after_a_restart():
    run = regulated()
    considered(run)
    assert OfferTo("b", 120.0 - NUDGE, 30) in run.do(Tick(), after=NUDGE)
    run.state = msgspec.json.decode(msgspec.json.encode(run.state), type=JobState)
    run.do(Restarted())
    assert run.do(BoxReady("b")) == [OfferTo("b", 120.0 - NUDGE, 30)]


def test_the_first_rounds_are_not_regulated():
    run = regulated()
    run.state = msgspec.structs.replace(run.state, round=2)
    assert considered(run)[0].plan.steps == {}


def taught_round(run: Run, loss: float, teacher: float | None, distance: float = 1.0) -> None:
    run.consider(*NAMES)
    store_all(run)
    assert run.do(Folded(loss, 0.5, teacher, distance)) == [Publish()]
    run.do(Published())


def test_a_fleet_that_has_come_near_its_teacher_opens_no_further_round_of_training():
    run = waiting(rounds=99, gap=0.1)
    taught_round(run, 0.9, 0.5)
    assert (run.state.kind, run.state.phase) == (TRAIN, Phase.WAITING)
    taught_round(run, 0.59, 0.5)
    assert run.state.kind == EVALUATE
    assert run.state.reason == "validation loss is within 0.1 of the teacher's: +0.0900"


def test_a_fleet_better_than_its_teacher_stops_too():
    run = waiting(rounds=99, gap=0.1)
    taught_round(run, 0.2, 0.9)
    assert "-0.7000" in run.state.reason


def test_a_fleet_whose_boxes_no_longer_move_apart_or_together_stops():
    run = waiting(rounds=99, plateau=0.05)
    for distance in (0.5, 0.3, 0.2):
        taught_round(run, 0.9, None, distance)
        assert run.state.kind == TRAIN
    taught_round(run, 0.9, None, 0.16)
    assert run.state.kind == EVALUATE
    assert run.state.reason == "the boxes' distance from the fleet's loss changed by 0.0400 only"


def test_without_a_teacher_no_gap_is_known_and_all_rounds_are_run():
    run = waiting(rounds=2, gap=9.0)
    taught_round(run, 0.1, None)
    taught_round(run, 0.1, None)
    assert run.state.reason == "all 2 rounds are done"
