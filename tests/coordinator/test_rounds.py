"""How a job's rounds go in every situation, told one transition at a time, and for any run."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.jobstate import (
    Action,
    Answered,
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
    Rules,
    Say,
    StopAsked,
    Tick,
    UpdateStored,
    new_job,
)
from coordinator.rounds import TABLE, step, wake
from coordinator.rulebook import MAX_MISS_WAIT, MISS_WAIT, NUDGE
from coordinator.selection.advice import Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.constants import Constants
from proto.messages import EVALUATE, MOMENTS, TRAIN, Resources

NAMES = ("a", "b", "c")


def rules(**changes) -> Rules:
    base = {
        "rounds": 3,
        "cohort": 3,
        "quorum": 2,
        "deadline": 120.0,
        "gather": 30.0,
        "scorer": "stalest",
        "seed": 0,
    }
    return Rules(**{**base, **changes})


def candidates(*names: str) -> tuple[Candidate, ...]:
    return tuple(Candidate(name, 40) for name in names)


@dataclass
class Run:
    """A job and the coordinator's clock; `do` gives the actions of one event."""

    state: JobState
    now: float = 1000.0
    turn: int = 0

    def do(self, *events: Event, after: float = 0.0) -> list[Action]:
        self.now += after
        actions: list[Action] = []
        for event in events:
            self.state, more = step(self.state, event, self.now)
            actions += more
        return actions

    def consider(self, *names: str, after: float = 0.0) -> list[Action]:
        self.turn += 1
        return self.do(Consider(candidates(*names), self.turn), after=after)


def waiting(**changes) -> Run:
    return Run(new_job("job", rules(**changes), moments=False))


def collecting(**changes) -> Run:
    run = waiting(**changes)
    run.consider(*NAMES)
    assert run.state.phase is Phase.COLLECTING
    return run


def store_all(run: Run) -> list[Action]:
    return run.do(*(UpdateStored(box, run.turn) for box in NAMES))


def folding(**changes) -> Run:
    run = collecting(**changes)
    assert store_all(run) == [Fold()]
    return run


def publishing(loss: float | None = 1.0, **changes) -> Run:
    run = folding(**changes)
    assert run.do(Folded(loss, 0.5)) == [Publish()]
    return run


def one_round(run: Run, loss: float | None = 1.0, accuracy: float | None = 0.5) -> list[Action]:
    """A whole round in which everybody delivers; what its publication leads to."""
    run.consider(*NAMES)
    store_all(run)
    run.do(Folded(loss, accuracy))
    return run.do(Published())


def shape(run: Run) -> tuple[Phase, int, int]:
    return run.state.phase, run.state.kind, run.state.round


# --- waiting --------------------------------------------------------------------------------------


def test_a_round_opens_only_with_a_quorum():
    run = waiting()
    assert run.consider("a") == []
    assert run.state.phase is Phase.WAITING


def test_a_full_cohort_is_asked_at_once_and_everybody_gets_an_offer():
    run = waiting()
    opened, *offers = run.consider(*NAMES)
    assert isinstance(opened, Open)
    assert opened.plan.cohort == NAMES
    assert offers == [OfferTo(box, 120.0) for box in NAMES]
    assert run.state.pending == NAMES


def test_a_quorum_gathers_for_a_while_before_it_starts_without_the_others():
    run = waiting()
    assert run.consider("a", "b") == []
    assert run.consider("a", "b", after=29.0) == []
    actions = run.consider("a", "b", after=1.0)
    assert [a.box for a in actions[1:]] == ["a", "b"]


def test_gathering_ends_when_the_cohort_is_full():
    run = waiting()
    run.consider("a", "b")
    assert len(run.consider(*NAMES, after=1.0)) == 4


def test_nobody_is_waited_for_where_further_boxes_would_not_be_worth_it():
    for low, asked in ((0.1, ["a", "b"]), (0.9, [])):
        run = waiting(scorer="agent", cohort=4, quorum=1, constants=Constants(least_score=0.5))
        told = Advice(scores={"a": 0.9, "b": 0.8, "c": low})
        actions = run.do(Consider(candidates(*NAMES), 1, advice=told))
        assert [a.box for a in actions[1:]] == asked


def test_gathering_starts_anew_when_the_quorum_is_lost():
    run = waiting()
    run.consider("a", "b")
    run.consider("a", after=20.0)
    run.consider("a", "b", after=5.0)
    assert run.consider("a", "b", after=20.0) == []
    assert run.consider("a", "b", after=10.0)


def test_while_gathering_somebody_looks_every_second():
    run = waiting()
    run.consider("a", "b")
    assert wake(run.state) == run.now + 1


def test_a_cohort_of_nobody_in_particular_asks_everybody():
    run = waiting(cohort=0)
    assert len(run.consider("a", "b", "c", "d")) == 5


def test_rounds_of_moments_and_of_evaluation_ask_everybody():
    run = Run(new_job("job", rules(cohort=2), moments=True))
    assert [a.box for a in run.consider(*NAMES)[1:]] == list(NAMES)


def test_an_unfit_box_is_not_asked_and_the_plan_says_why():
    run = waiting(cohort=2)
    flat = Candidate("flat", 40, 0, Resources(battery=5))
    opened, *_ = run.do(Consider((*candidates("a", "b"), flat), 1))
    assert opened.plan.cohort == ("a", "b")
    assert "battery" in opened.plan.refused["flat"]


# --- collecting -----------------------------------------------------------------------------------


def test_a_round_closes_early_when_nobody_is_pending():
    run = collecting()
    assert run.do(UpdateStored("a", 1), UpdateStored("b", 1)) == []
    assert run.do(Answered("c", 1, accepted=False)) == [Fold()]
    assert run.state.updated == ("a", "b")


def test_an_acceptance_keeps_the_round_waiting_for_the_update():
    run = collecting()
    run.do(UpdateStored("a", 1), UpdateStored("b", 1), Answered("c", 1, accepted=True))
    assert run.state.pending == ("c",)


def test_a_box_may_change_its_mind_and_deliver_after_all():
    run = collecting()
    run.do(Answered("a", 1, accepted=False), UpdateStored("a", 1))
    assert run.state.updated == ("a",)


def test_a_late_decline_does_not_take_an_update_back():
    run = collecting()
    run.do(UpdateStored("a", 1), Answered("a", 1, accepted=False))
    assert run.state.updated == ("a",)


def test_words_about_another_turn_change_nothing():
    run = collecting()
    before = run.state
    assert run.do(UpdateStored("a", 7), Answered("a", 7, accepted=False)) == []
    assert run.state == before


def test_words_of_a_box_outside_the_cohort_change_nothing():
    run = collecting()
    before = run.state
    assert run.do(UpdateStored("z", 1), Answered("z", 1, accepted=False)) == []
    assert run.state == before


def test_a_round_closes_at_its_deadline_with_a_quorum():
    run = collecting()
    run.do(UpdateStored("a", 1), UpdateStored("b", 1))
    run.do(Tick(), after=119.0)
    assert run.state.phase is Phase.COLLECTING
    assert run.do(Tick(), after=1.0) == [Fold()]


def test_a_round_without_its_quorum_is_missed_and_run_again():
    run = collecting()
    run.do(UpdateStored("a", 1))
    missed, say = run.do(Tick(), after=120.0)
    assert missed == CloseMissed()
    assert "round 1 missed its quorum: 1 of 2 updates" in say.text
    assert shape(run) == (Phase.WAITING, TRAIN, 1)


def test_each_miss_doubles_the_wait_and_a_result_ends_that():
    run, waits = waiting(), []
    for _ in range(9):
        run.consider(*NAMES, after=MAX_MISS_WAIT)
        run.do(Tick(), after=120.0)
        waits.append(run.state.not_before - run.now)
        assert run.consider(*NAMES, after=waits[-1] - 1) == []
    assert waits[:3] == [MISS_WAIT, 2 * MISS_WAIT, 4 * MISS_WAIT]
    assert waits[-1] == MAX_MISS_WAIT
    run.now += MAX_MISS_WAIT
    one_round(run)
    assert run.state.misses == 0


def test_who_says_nothing_is_asked_again_with_the_time_that_is_left():
    run = collecting()
    run.do(Answered("a", 1, accepted=True), UpdateStored("b", 1))
    assert run.do(Tick(), after=NUDGE - 1) == []
    assert run.do(Tick(), after=1) == [OfferTo("c", 110.0)]
    assert run.do(Tick(), after=1) == []
    assert wake(run.state) == run.now + NUDGE - 1


def test_a_box_that_comes_back_is_offered_its_part_again():
    run = collecting()
    run.do(Answered("a", 1, accepted=True), UpdateStored("b", 1))
    assert run.do(BoxReady("a"), after=20.0) == [OfferTo("a", 100.0)]
    assert run.do(BoxReady("b"), BoxReady("z")) == []


def test_a_revoked_box_leaves_the_round():
    run = collecting()
    run.do(UpdateStored("a", 1), UpdateStored("b", 1))
    assert run.do(Departed("c")) == [Fold()]


def test_a_revoked_boxs_update_no_longer_counts_for_the_quorum():
    run = collecting()
    run.do(UpdateStored("a", 1), UpdateStored("b", 1), Departed("b"))
    assert run.state.updated == ("a",)
    assert run.do(Answered("c", 1, accepted=False))[0] == CloseMissed()


def test_revoking_a_stranger_to_the_round_changes_nothing():
    run = collecting()
    before = run.state
    assert run.do(Departed("z")) == []
    assert run.state == before


# --- what follows ---------------------------------------------------------------------------------


def test_a_round_that_cannot_be_folded_is_run_again():
    run = folding()
    missed, say = run.do(FoldFailed("not finite"))
    assert missed == CloseMissed()
    assert "not finite" in say.text
    assert shape(run) == (Phase.WAITING, TRAIN, 1)
    assert run.state.not_before == run.now + MISS_WAIT


def test_moments_come_first_then_training_then_one_evaluation():
    run = Run(new_job("job", rules(rounds=2), moments=True))
    seen = [shape(run)[1:]]
    while run.state.phase is not Phase.FINISHED:
        one_round(run)
        seen.append(shape(run)[1:])
    assert seen == [(MOMENTS, 0), (TRAIN, 1), (TRAIN, 2), (EVALUATE, 2), (EVALUATE, 2)]
    assert run.state.reason == "all 2 rounds are done"


def test_without_evaluation_the_last_training_round_ends_the_job():
    run = waiting(rounds=1, evaluate=False)
    assert "all 1 rounds" in one_round(run)[0].text
    assert run.state.phase is Phase.FINISHED


def test_a_loss_that_no_longer_falls_ends_the_training():
    run = waiting(rounds=99, patience=2, min_gain=0.1)
    for loss in (1.0, 0.8, 0.75):
        one_round(run, loss)
        assert run.state.kind == TRAIN
    one_round(run, 0.71)
    assert run.state.kind == EVALUATE
    assert "has not improved for 2 rounds" in run.state.reason


def test_reaching_the_target_ends_the_training():
    run = waiting(rounds=99, target=0.9)
    one_round(run, accuracy=0.89)
    assert run.state.kind == TRAIN
    one_round(run, accuracy=0.9)
    assert run.state.kind == EVALUATE
    assert "reached the target 0.9" in run.state.reason


def test_rounds_without_validation_rows_neither_please_nor_tire():
    run = waiting(rounds=99, patience=1, target=0.5)
    for _ in range(3):
        one_round(run, None, None)
    assert (run.state.kind, run.state.stale, run.state.best) == (TRAIN, 0, None)


# --- interruptions --------------------------------------------------------------------------------


def test_stopping_between_rounds_stops_at_once_and_resuming_goes_on():
    run = waiting()
    run.do(StopAsked())
    assert run.state.phase is Phase.STOPPED
    assert wake(run.state) is None
    assert run.consider(*NAMES) == []
    assert "goes on with round 1" in run.do(ResumeAsked())[0].text
    assert run.consider(*NAMES)


def test_stopping_while_collecting_drops_the_round():
    run = collecting()
    run.do(UpdateStored("a", 1))
    assert run.do(StopAsked())[0] == CloseMissed()
    assert (run.state.phase, run.state.members) == (Phase.STOPPED, ())


@pytest.mark.parametrize("make", [folding, publishing])
def test_stopping_while_a_result_is_made_waits_for_the_result(make):
    run = make()
    assert run.do(StopAsked()) == []
    if run.state.phase is Phase.FOLDING:
        run.do(Folded(1.0, 0.5))
    run.do(Published())
    assert shape(run) == (Phase.STOPPED, TRAIN, 2)
    run.do(ResumeAsked())
    one_round(run)
    assert shape(run) == (Phase.WAITING, TRAIN, 3)


def test_stopping_holds_even_when_the_fold_fails():
    run = folding()
    run.do(StopAsked(), FoldFailed("not finite"))
    assert run.state.phase is Phase.STOPPED
    run.do(ResumeAsked())
    one_round(run)
    assert run.state.phase is Phase.WAITING


def test_resuming_forgets_the_misses():
    run = collecting()
    run.do(Tick(), after=120.0)
    run.do(StopAsked(), ResumeAsked())
    assert (run.state.misses, run.state.not_before) == (0, run.now)


@pytest.mark.parametrize(
    ("make", "again"),
    [(waiting, []), (collecting, []), (folding, [Fold()]), (publishing, [Publish()])],
)
def test_a_restarted_coordinator_does_again_what_may_not_have_happened(make, again):
    run = make()
    before = run.state.phase
    assert run.do(Restarted()) == again
    assert run.state.phase is before


def test_after_a_restart_boxes_that_come_back_get_their_offers():
    run = collecting()
    run.do(UpdateStored("a", 1))
    assert run.do(Restarted(), BoxReady("a"), BoxReady("b")) == [OfferTo("b", 120.0)]


@pytest.mark.parametrize("jump", [-1e8, -60.0, 0.0, 60.0, 1e8])
def test_the_deadline_after_a_restart_is_never_longer_than_a_fresh_rounds(jump):
    run = collecting()
    run.do(Restarted(), after=jump)
    assert run.state.due <= run.now + 120.0
    assert wake(run.state) <= run.now + NUDGE
    run.do(Tick(), after=120.0)
    assert run.state.phase is Phase.WAITING


@pytest.mark.parametrize("jump", [-1e8, 0.0, 1e8])
def test_a_clock_that_jumped_holds_up_no_round_that_waits(jump):
    run = collecting()
    run.do(Tick(), after=120.0)
    run.consider("a", "b", after=MISS_WAIT)
    run.do(Restarted(), after=jump)
    run.consider("a", "b", after=MISS_WAIT)
    assert run.state.phase is Phase.COLLECTING or run.consider("a", "b", after=30.0)


def test_a_new_era_runs_the_open_round_again():
    run = collecting()
    run.do(UpdateStored("a", 1))
    assert run.do(EraBegan())[0] == CloseMissed()
    assert shape(run) == (Phase.WAITING, TRAIN, 1)
    assert run.consider(*NAMES)


def test_a_new_era_leaves_results_alone():
    run = folding()
    assert run.do(EraBegan()) == []
    assert run.state.phase is Phase.FOLDING


# --- any run of events ----------------------------------------------------------------------------

BOXES = st.sampled_from(NAMES)
EVENTS = st.one_of(
    st.builds(Consider, st.sets(BOXES).map(lambda s: candidates(*sorted(s))), st.just(0)),
    st.builds(Consider, st.just(candidates(*NAMES)), st.just(0)),
    st.builds(Answered, BOXES, st.just(0), st.booleans()),
    st.builds(UpdateStored, BOXES, st.just(0)),
    st.builds(UpdateStored, BOXES, st.just(0)),
    st.builds(UpdateStored, BOXES, st.just(99)),
    st.builds(BoxReady, BOXES),
    st.builds(Departed, BOXES),
    st.builds(Folded, st.sampled_from([None, 0.5, 1.0]), st.sampled_from([None, 0.5, 1.0])),
    st.builds(FoldFailed, st.just("why")),
    st.builds(Published),
    st.builds(Published),
    st.sampled_from([StopAsked(), ResumeAsked(), Restarted(), EraBegan(), Tick()]),
)
RUNS = st.lists(st.tuples(EVENTS, st.sampled_from([0.0, 1.0, 30.0, 200.0])), max_size=80)


def aimed(event: Event, run: Run) -> Event:
    """The event with the turn the shell would give it."""
    match event:
        case Consider(boxes, _):
            run.turn += 1
            return Consider(boxes, run.turn)
        case Answered(box, 0, accepted):
            return Answered(box, run.state.turn, accepted)
        case UpdateStored(box, 0):
            return UpdateStored(box, run.state.turn)
    return event


def check_step(before: JobState, event: Event, after: JobState, actions: list[Action]) -> None:
    rule = TABLE.get((before.phase, type(event)))
    assert after.phase in (rule.to if rule else (before.phase,))
    assert after.round in (before.round, before.round + 1)
    if after.round > before.round:
        assert isinstance(event, Published)
    if after.turn != before.turn:
        assert isinstance(event, Consider)
        assert after.turn > before.turn
    if after.phase is Phase.FOLDING:
        assert len(after.updated) >= after.rules.quorum
    if after.phase is Phase.COLLECTING:
        assert after.pending
    if before.phase is Phase.FINISHED:
        assert (after, actions) == (before, [])
    opened = before.phase is Phase.WAITING and after.phase is Phase.COLLECTING
    assert opened == any(isinstance(action, Open) for action in actions)
    given_up = before.phase in (Phase.COLLECTING, Phase.FOLDING) and after.phase in (
        Phase.WAITING,
        Phase.STOPPED,
    )
    assert given_up == (CloseMissed() in actions)
    asked = [action.box for action in actions if isinstance(action, OfferTo)]
    assert set(asked) <= set(after.pending)
    assert all(action.seconds > 0 for action in actions if isinstance(action, OfferTo))
    assert all(action.text for action in actions if isinstance(action, Say))
    assert msgspec.json.decode(msgspec.json.encode(after), type=JobState) == after


@settings(max_examples=300, deadline=None)
@given(
    RUNS,
    st.booleans(),
    st.builds(
        rules,
        rounds=st.integers(1, 3),
        quorum=st.integers(1, 3),
        cohort=st.integers(0, 3),
        patience=st.integers(0, 2),
        target=st.sampled_from([0.0, 0.9]),
        evaluate=st.booleans(),
    ),
)
def test_any_run_of_events_keeps_the_jobs_promises(events, moments, chosen):
    run = Run(new_job("job", chosen, moments=moments))
    for event, seconds in [(Consider(candidates(*NAMES), 0), 0.0), *events]:
        event = aimed(event, run)  # noqa: PLW2901 - it is the same event, with its turn
        before = run.state
        actions = run.do(event, after=seconds)
        check_step(before, event, run.state, actions)
