"""How an asynchronous job's steps go: one transition at a time, then any run of events."""

import itertools
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.buffered import BACK, TABLE
from coordinator.jobstate import (
    Action,
    Answered,
    Ask,
    BoxReady,
    CloseMissed,
    Consider,
    Departed,
    EraBegan,
    Event,
    Fold,
    Folded,
    FoldFailed,
    JobState,
    OfferTo,
    Open,
    Phase,
    Publish,
    Published,
    Restarted,
    ResumeAsked,
    Say,
    StopAsked,
    Tick,
    UpdateStored,
)
from coordinator.rounds import step, wake
from coordinator.rulebook import NUDGE
from coordinator.selection.advice import Advice
from coordinator.selection.request import Budget
from proto.messages import EVALUATE
from tests.coordinator.test_rounds import Run, candidates, waiting

NAMES = ("a", "b", "c", "d", "e", "f")
DEADLINE = 120.0


def at_work(**changes) -> Run:
    """Three boxes at work, two updates a step."""
    table = {"cohort": 0, "buffer": 2, "concurrency": 3, "max_staleness": 1, "rounds": 9}
    run = waiting(**table | changes)
    run.consider(*NAMES)
    assert run.state.phase is Phase.COLLECTING
    return run


def busy(run: Run) -> tuple[str, ...]:
    return tuple(member.box for member in run.state.members)


def deliver(run: Run, *boxes: str) -> list[Action]:
    """Updates of boxes at work, each for the turn it was asked in."""
    turns = {member.box: member.turn for member in run.state.members}
    return run.do(*(UpdateStored(box, turns[box]) for box in boxes))


def a_step(run: Run, *boxes: str) -> list[Action]:
    """These deliver, the model takes a step; what its publication leads to."""
    assert deliver(run, *boxes) == [Fold()]
    assert run.do(Folded(1.0, 0.5)) == [Publish()]
    run.turn += 1
    return run.do(Published(run.turn))


def said(actions: list[Action]) -> list[str]:
    return [action.text for action in actions if isinstance(action, Say)]


# --- asking ---------------------------------------------------------------------------------------


def test_it_begins_with_as_many_boxes_as_may_train_at_once_or_with_fewer():
    run = at_work()
    assert len(busy(run)) == 3
    assert busy(at_work(concurrency=20)) == NAMES


def test_nobody_there_opens_no_turn():
    run = waiting(cohort=0, buffer=2, concurrency=3)
    assert run.consider() == []
    assert run.state.phase is Phase.WAITING


def test_a_box_that_delivers_frees_its_place_for_one_that_was_not_asked():
    run = at_work()
    first = busy(run)
    assert deliver(run, first[0]) == []
    told, offered = run.consider(*NAMES)
    assert isinstance(told, Ask)
    assert told.plan.cohort == (offered.box,)
    assert offered.box not in first
    assert run.state.turn == 1


def test_a_box_that_declines_leaves_or_is_late_frees_its_place():
    run = at_work()
    a, b, c = busy(run)
    run.do(Answered(a, 1, accepted=False), Departed(b))
    assert busy(run) == (c,)
    assert said(run.do(Tick(), after=DEADLINE)) == [f"{c} is given up: no update within its time"]
    assert busy(run) == ()
    run.consider(*NAMES)
    assert len(busy(run)) == 3
    assert not {a, b, c} & set(busy(run))


def test_each_place_has_a_deadline_of_its_own():
    run = at_work()
    first = busy(run)[0]
    deliver(run, first)
    run.consider(*NAMES, after=60.0)
    (late,) = set(busy(run)) & {m.box for m in run.state.members if m.asked > 1000.0}
    run.do(Tick(), after=60.0)
    assert busy(run) == (late,)


def test_no_box_is_asked_twice_for_one_model():
    run = at_work()
    for _ in range(3):
        run.do(*(Answered(name, 1, accepted=False) for name in busy(run)))
        run.consider(*NAMES)
    assert busy(run) == ()
    assert run.state.asked == NAMES


def test_the_budget_of_bytes_is_that_of_a_step():
    run = waiting(cohort=0, buffer=2, concurrency=5, rounds=9, budget=Budget(bytes=2500))
    run.turn += 1
    run.do(Consider(candidates(*NAMES), run.turn, 1000))
    assert len(busy(run)) == 2
    deliver(run, busy(run)[0])
    assert not any(isinstance(a, OfferTo) for a in run.do(Consider(candidates(*NAMES), 2, 1000)))


def test_silent_boxes_are_asked_again_and_so_is_one_that_comes_back():
    run = at_work()
    a, b, c = busy(run)
    run.do(Answered(a, 1, accepted=True))
    again = run.do(Tick(), after=NUDGE)
    assert again == [OfferTo(b, DEADLINE - NUDGE), OfferTo(c, DEADLINE - NUDGE)]
    assert run.do(BoxReady(a)) == [OfferTo(a, DEADLINE - NUDGE)]
    assert run.do(BoxReady("zz")) == []


def test_with_nobody_left_to_ask_a_step_is_made_of_what_is_there():
    run = at_work(buffer=6, quorum=2)
    there = busy(run)
    deliver(run, *there)
    assert run.consider(*there) == []
    assert run.consider(*there, after=29.0) == []
    words, fold = run.consider(*there, after=2.0)
    assert (words.text, fold) == (
        "round 1 is done with 3 updates of 6: no other box can be asked",
        Fold(),
    )


def test_below_the_quorum_it_waits_for_boxes():
    run = at_work(buffer=6, quorum=4)
    there = busy(run)
    deliver(run, *there)
    run.consider(*there)
    assert run.consider(*there, after=500.0) == []
    assert run.state.phase is Phase.COLLECTING


# --- a step of the model --------------------------------------------------------------------------


def test_the_model_takes_a_step_and_boxes_at_work_stay_so():
    run = at_work()
    a, b, c = busy(run)
    opened = a_step(run, a, b)[0]
    assert isinstance(opened, Open)
    assert (run.state.phase, run.state.round, run.state.turn) == (Phase.COLLECTING, 2, 2)
    assert (busy(run), run.state.buffer, run.state.asked) == ((c,), (), ())
    run.consider(*NAMES)
    assert {m.turn for m in run.state.members} == {1, 2}
    assert {m.round for m in run.state.members} == {1, 2}


def test_what_comes_with_the_last_of_a_step_is_in_it_too():
    run = at_work()
    assert deliver(run, *busy(run)) == [Fold()]
    assert len(run.state.updated) == 3


def test_a_box_more_steps_behind_than_allowed_is_given_up():
    run = at_work()
    slow = busy(run)[2]
    a_step(run, *busy(run)[:2])
    run.consider(*NAMES)
    fresh = [box for box in busy(run) if box != slow]
    lines = said(a_step(run, *fresh))
    assert lines == [
        f"{slow} is given up: the model is more than 1 steps past the one it was given"
    ]
    assert run.do(UpdateStored(slow, 1)) == []
    assert run.state.buffer == ()


def test_an_update_counts_once_whatever_is_told_twice():
    run = at_work(buffer=3)
    box = busy(run)[0]
    run.do(UpdateStored(box, 1), UpdateStored(box, 1), UpdateStored(box, 7))
    assert run.state.buffer == (box,)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_arrival_makes_no_difference_within_a_buffer(order):
    orders = []
    for places in (sorted(order), order):
        run = at_work(buffer=4, concurrency=6)
        deliver(run, *(NAMES[place] for place in places))
        orders.append(run.state)
    assert orders[0] == orders[1]


def test_training_ends_after_its_steps_and_what_is_at_work_is_told():
    run = at_work(rounds=1)
    c = busy(run)[2]
    lines = said(a_step(run, *busy(run)[:2]))
    assert lines == [f"training is over: {c}, at work, is given up"]
    assert (run.state.phase, run.state.kind) == (Phase.WAITING, EVALUATE)
    run.consider(*NAMES, after=1.0)
    assert (run.state.phase, busy(run)) == (Phase.COLLECTING, NAMES)


def test_an_agent_may_end_it_in_the_middle_of_a_turn():
    run = at_work(evaluate=False)
    a_step(run, *busy(run)[:2])
    deliver(run, busy(run)[0])
    advice = Advice(scores={}, stop=1.0)
    constants = msgspec.structs.replace(
        run.state.rules.constants,
        agent=msgspec.structs.replace(run.state.rules.constants.agent, stop=0.5),
    )
    rules = msgspec.structs.replace(run.state.rules, constants=constants)
    run.state = msgspec.structs.replace(run.state, rules=rules)
    close, *words = run.do(Consider(candidates(*NAMES), 3, advice=advice))
    assert close == CloseMissed()
    assert "training is over: the update of" in words[0].text
    assert run.state.phase is Phase.FINISHED


# --- interruptions --------------------------------------------------------------------------------


def test_stopped_it_drops_what_it_has_and_says_so_then_goes_on():
    run = at_work(buffer=3)
    a, b, c = busy(run)
    deliver(run, a)
    close, *words = run.do(StopAsked())
    assert close == CloseMissed()
    assert said(words)[:3] == [
        f"stopped: the update of {a} is dropped",
        f"stopped: {b}, at work, is given up",
        f"stopped: {c}, at work, is given up",
    ]
    run.do(ResumeAsked())
    run.consider(*NAMES)
    assert (run.state.round, run.state.turn, len(busy(run))) == (1, 2, 3)


def test_a_stop_in_the_middle_of_a_step_waits_for_its_end():
    run = at_work()
    deliver(run, *busy(run)[:2])
    run.do(StopAsked(), Folded(1.0, 0.5))
    assert said(run.do(Published(2)))[-1].startswith("stopped as asked")
    assert (run.state.phase, run.state.round, busy(run)) == (Phase.STOPPED, 2, ())


def test_a_restart_does_again_what_was_being_done_and_gives_boxes_time_to_come_back():
    run = at_work()
    assert run.do(Restarted(), after=5000.0) == []
    assert {m.due for m in run.state.members} == {run.now + BACK}
    assert run.do(Tick()) == []
    deliver(run, *busy(run)[:2])
    assert run.do(Restarted()) == [Fold()]
    run.do(Folded(1.0, 0.5))
    assert run.do(Restarted()) == [Publish()]


def test_a_new_era_voids_what_is_at_work_but_not_a_step_that_is_being_made():
    run = at_work()
    deliver(run, busy(run)[0])
    assert run.do(EraBegan())[0] == CloseMissed()
    assert run.state.phase is Phase.WAITING
    run = at_work()
    a, b, c = busy(run)
    deliver(run, a, b)
    assert said(run.do(EraBegan())) == [f"a new era began: {c}, at work, is given up"]
    assert run.state.updated == (a, b)


def test_a_buffer_that_cannot_be_folded_is_told_and_the_step_tried_again():
    run = at_work()
    a, b, c = busy(run)
    deliver(run, a, b)
    actions = run.do(FoldFailed("why"))
    assert CloseMissed() in actions
    assert [line for line in said(actions) if c in line]
    assert (run.state.phase, run.state.buffer, busy(run)) == (Phase.WAITING, (), ())
    assert wake(run.state) == run.now + 5.0


# --- any run of events ----------------------------------------------------------------------------

BOXES = st.sampled_from(NAMES)
EVENTS = st.one_of(
    st.builds(Consider, st.sets(BOXES).map(lambda s: candidates(*sorted(s))), st.just(0)),
    st.builds(Consider, st.just(candidates(*NAMES)), st.just(0)),
    st.builds(Answered, BOXES, st.just(0), st.booleans()),
    *[st.builds(UpdateStored, BOXES, st.just(0))] * 3,
    st.builds(UpdateStored, BOXES, st.just(99)),
    st.builds(BoxReady, BOXES),
    st.builds(Departed, BOXES),
    *[st.builds(Folded, st.sampled_from([None, 0.5, 1.0]), st.none())] * 2,
    st.builds(FoldFailed, st.just("why")),
    *[st.builds(Published)] * 2,
    st.sampled_from([StopAsked(), ResumeAsked(), Restarted(), EraBegan(), Tick()]),
)
RUNS = st.lists(st.tuples(EVENTS, st.sampled_from([0.0, 1.0, 30.0, 200.0])), max_size=80)


@dataclass
class Shell:
    """What the real shell keeps of updates: those here, in a model, and told to be lost."""

    run: Run
    here: set[str] = field(default_factory=set)
    """Of the open buffer, by box."""
    folded: int = 0
    taken: int = 0
    lost: int = 0

    def do(self, event: Event, after: float) -> None:
        run, before = self.run, self.run.state
        event = self._aimed(event)
        if isinstance(event, UpdateStored) and before.member(event.box, event.turn) is not None:
            if before.phase not in (Phase.COLLECTING, Phase.FOLDING):
                return  # the shell takes none then
            self.taken += 1
            self.here.add(event.box)
        actions = run.do(event, after=after)
        self._check(before, event, actions)

    def _aimed(self, event: Event) -> Event:
        run = self.run
        turns = {m.box: m.turn for m in run.state.members}
        match event:
            case Consider(boxes, _):
                run.turn = max(run.turn, run.state.turn) + 1
                return Consider(boxes, run.turn)
            case Answered(box, 0, accepted):
                return Answered(box, turns.get(box, 0), accepted)
            case UpdateStored(box, 0):
                return UpdateStored(box, turns.get(box, 0))
            case Published():
                return Published(max(run.turn, run.state.turn) + 1)
        return event

    def _check(self, before: JobState, event: Event, actions: list[Action]) -> None:
        after, rules = self.run.state, self.run.state.rules
        if isinstance(event, Folded) and before.phase is Phase.FOLDING:
            assert set(before.updated) == self.here
            self.folded += len(self.here)
            self.here.clear()
        if isinstance(event, Departed) and event.box in self.here:
            self.here.discard(event.box)
            self.lost += 1
        told = [line for line in said(actions) if "is dropped" in line]
        if CloseMissed() in actions:
            assert len(told) == len(self.here), "no update is lost without a line"
            self.lost += len(self.here)
            self.here.clear()
        if after.buffered:
            self._check_state(before, after)
        assert self.taken == self.folded + self.lost + len(self.here)
        assert after.round in (before.round, before.round + 1)
        assert after.phase is not Phase.FINISHED or after.round == before.round
        assert all(a.seconds > 0 for a in actions if isinstance(a, OfferTo))
        offered = {a.box for a in actions if isinstance(a, OfferTo)}
        assert offered <= {m.box for m in after.members}
        assert msgspec.json.decode(msgspec.json.encode(after), type=JobState) == after
        assert rules == before.rules

    def _check_state(self, before: JobState, after: JobState) -> None:
        boxes = [m.box for m in after.members]
        assert boxes == sorted(set(boxes))
        assert len(boxes) <= after.rules.concurrency
        assert not set(boxes) & set(after.buffer)
        assert all(after.round - m.round <= after.rules.max_staleness for m in after.members)
        if after.phase is not Phase.PUBLISHING:
            assert set(after.buffer) == self.here
        if after.phase is Phase.FOLDING and before.phase is Phase.COLLECTING:
            assert len(after.buffer) >= min(after.rules.buffer, after.rules.quorum)
        if after.phase in (Phase.WAITING, Phase.STOPPED):
            assert (after.members, after.buffer, after.asked) == ((), (), ())


@settings(max_examples=300, deadline=None)
@given(
    RUNS,
    st.fixed_dictionaries(
        {
            "buffer": st.integers(1, 4),
            "concurrency": st.integers(1, 5),
            "max_staleness": st.integers(0, 2),
            "quorum": st.integers(1, 3),
            "rounds": st.integers(1, 4),
            "evaluate": st.booleans(),
        }
    ),
)
def test_in_any_run_of_events_each_update_is_in_one_model_or_told_to_be_lost(events, chosen):
    shell = Shell(waiting(cohort=0, **chosen))
    for event, seconds in [(Consider(candidates(*NAMES), 0), 0.0), *events]:
        if not shell.run.state.buffered:
            break
        shell.do(event, seconds)


def test_every_rule_of_the_table_leads_where_it_says():
    assert all(isinstance(phase, Phase) for rule in TABLE.values() for phase in rule.to)
    idle = waiting(cohort=0, buffer=2, concurrency=3)
    assert step(idle.state, Tick(), 1000.0) == (idle.state, ())
