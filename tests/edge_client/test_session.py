"""What a box does in every situation, told one transition at a time, and for any run of events."""

from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_client import session
from edge_client.session import (
    ACK_WAIT,
    ANSWER_WAIT,
    EPOCH_LIFE,
    MAX_JOBS,
    MAX_WAIT,
    SETTLE,
    TRIES_BEFORE_REKEY,
    step,
    wake,
)
from edge_client.state import (
    Acked,
    Action,
    Answer,
    Cancel,
    CoordinatorSeen,
    Enlist,
    Event,
    Failed,
    Fetch,
    Fetched,
    Forget,
    GiveBirth,
    Inspect,
    Inspected,
    Link,
    LinkDown,
    LinkUp,
    OfferSeen,
    Remember,
    Say,
    Secured,
    Send,
    State,
    TaskSeen,
    Tick,
    Train,
    Trained,
    Waiting,
    Work,
)
from proto.messages import DUPLICATE, REFUSED, STORED, TRAIN, BlobRef, Era, Offer

ERA = Era(number=1, nonce=b"e" * 8)
LATER = Era(number=2, nonce=b"f" * 8)
TASK = b"t" * 16
ID = b"u" * 16


def offer(turn: int = 1, job: str = "job", **changes) -> Offer:
    base = Offer(
        job=job,
        round=1,
        turn=turn,
        kind=TRAIN,
        task=TASK,
        key=b"k" * 32,
        model=BlobRef(digest=b"d" * 32, address=b"a" * 16, size=100),
        features=None,
        inline=b"",
        steps=10,
        seconds=60,
        seed=0,
    )
    return replace(base, **changes)


@dataclass
class Life:
    """A box and its clock; `do` gives the actions of one event."""

    state: State = field(default_factory=lambda: session.start(None, {}, {}))
    now: float = 0.0

    def do(self, *events: Event, after: float = 0.0) -> list[Action]:
        self.now += after
        actions: list[Action] = []
        for event in events:
            before = self.state
            self.state, more = step(before, event, self.now)
            assert session.allows(before, event, self.state)
            actions += more
        return actions


def secured(**kept) -> Life:
    """A box that shares keys with its coordinator and has enlisted for one task."""
    life = Life(session.start(kept.get("era"), kept.get("turns", {}), kept.get("outbox", {})))
    life.do(LinkUp(), CoordinatorSeen(1, ERA, online=True), Secured(ERA))
    life.do(TaskSeen("job", TASK, ""), Inspected("job", TASK, 40, ""))
    return life


def training(turn: int = 1) -> Life:
    life = secured()
    life.do(OfferSeen(offer(turn)), Fetched(turn))
    assert life.state.work is Work.TRAINING
    return life


def waiting() -> Life:
    """A box whose finished update has no receipt yet."""
    life = training()
    assert life.do(Trained(1, ID)) == [Send(ID)]
    return life


def of(kind: type, actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


# --- link -----------------------------------------------------------------------------------------


def test_a_box_gives_birth_when_it_sees_its_coordinator():
    life = Life()
    assert life.do(LinkUp()) == []
    assert life.do(CoordinatorSeen(1, ERA, online=True)) == [GiveBirth()]
    assert life.state.link is Link.ANNOUNCED


def test_without_a_coordinator_the_birth_comes_a_moment_later_all_the_same():
    life = Life()
    life.do(LinkUp())
    assert life.do(Tick(), after=SETTLE / 2) == []
    assert life.do(Tick(), after=SETTLE / 2) == [GiveBirth()]


def test_a_birth_without_an_answer_is_repeated_after_doubling_waits():
    life = Life()
    life.do(LinkUp(), CoordinatorSeen(1, ERA, online=True))
    waits = []
    for _ in range(9):
        waits.append(wake(life.state) - life.now)
        assert life.do(Tick(), after=waits[-1]) == [GiveBirth()]
    assert waits[:4] == [ANSWER_WAIT * 2**n for n in range(4)]
    assert waits[-1] == MAX_WAIT


def test_seeing_the_same_coordinator_again_changes_nothing():
    life = secured()
    assert life.do(CoordinatorSeen(1, ERA, online=True)) == []
    assert life.state.link is Link.SECURED


def test_the_coordinators_new_session_leads_to_a_new_birth():
    life = secured()
    actions = life.do(CoordinatorSeen(2, ERA, online=True))
    assert actions[0] == GiveBirth()
    assert "started anew" in actions[1].text
    assert life.state.link is Link.ANNOUNCED


def test_a_coordinator_that_went_away_stops_nothing():
    life = training()
    before = life.state
    assert [type(action) for action in life.do(CoordinatorSeen(1, ERA, online=False))] == [Say]
    assert life.state == before


def test_a_lost_link_never_stops_training():
    life = training()
    assert life.do(LinkDown()) == []
    assert (life.state.link, life.state.work) == (Link.OFFLINE, Work.TRAINING)
    assert life.do(Trained(1, ID)) == []
    assert [w.id for w in life.state.outbox] == [ID]
    assert wake(life.state) == inf


def test_what_was_finished_off_line_is_sent_when_keys_are_shared_again():
    life = training()
    life.do(LinkDown(), Trained(1, ID), LinkUp(), CoordinatorSeen(1, ERA, online=True))
    assert Send(ID) in life.do(Secured(ERA))


def test_a_new_connection_means_a_new_key_exchange():
    life = secured()
    assert life.do(LinkUp()) == []
    assert life.do(CoordinatorSeen(1, ERA, online=True)) == [GiveBirth()]


def test_keys_are_renewed_after_a_day():
    life = secured()
    assert life.do(Tick(), after=EPOCH_LIFE - 1) == []
    assert life.do(Tick(), after=1) == [GiveBirth()]


def test_shared_keys_bring_everything_the_coordinator_may_have_missed():
    life = training()
    actions = life.do(LinkUp(), Secured(ERA))
    assert actions == [Enlist("job", TASK, 40, ""), Answer(1, accepted=True, reason="")]


# --- era ------------------------------------------------------------------------------------------


def test_the_first_era_is_written_down_without_a_word():
    life = Life()
    life.do(LinkUp(), CoordinatorSeen(1, ERA, online=True))
    assert life.do(Secured(ERA)) == [Remember(ERA, {})]


def test_a_new_era_voids_the_current_work_and_the_turns():
    life = training(turn=7)
    life.do(CoordinatorSeen(2, LATER, online=True))
    actions = life.do(Secured(LATER))
    cancel, say, *_, remember = actions
    assert (cancel, remember) == (Cancel(7), Remember(LATER, {}))
    assert "lost its memory" in say.text
    assert (life.state.work, life.state.offer, life.state.turns) == (Work.IDLE, None, {})


def test_in_a_new_era_lower_turns_are_welcome_again():
    life = training(turn=7)
    life.do(Secured(LATER))
    assert Fetch(offer(2)) in life.do(OfferSeen(offer(2)))


def test_a_restarted_box_remembers_era_turns_and_outbox():
    life = Life(session.start(ERA, {"job": 9}, {ID: 9}))
    life.do(LinkUp(), CoordinatorSeen(1, ERA, online=True))
    assert life.do(Secured(ERA)) == [Send(ID)]
    assert life.state.highest == 9


# --- tasks ----------------------------------------------------------------------------------------


def test_a_task_is_inspected_and_then_answered_with_the_rows():
    life = secured()
    assert life.do(TaskSeen("new", b"n" * 16, "")) == [Inspect("new", b"n" * 16)]
    inspected = Inspected("new", b"n" * 16, 12, "")
    assert life.do(inspected) == [Enlist("new", b"n" * 16, 12, "")]


def test_a_task_seen_before_is_not_inspected_again():
    again = Enlist("job", TASK, 40, "")
    assert secured().do(TaskSeen("job", TASK, "")) == [again]  # should the first have been lost
    assert secured().do(LinkDown(), TaskSeen("job", TASK, "")) == []


def test_a_changed_task_is_inspected_again():
    assert secured().do(TaskSeen("job", b"2" * 16, "")) == [Inspect("job", b"2" * 16)]


def test_a_task_against_the_owners_policy_is_declined_without_touching_the_rows():
    actions = secured().do(TaskSeen("big", b"b" * 16, "12 qubits"))
    assert actions[0] == Enlist("big", b"b" * 16, 0, "12 qubits")
    assert "12 qubits" in actions[1].text
    assert not of(Inspect, actions)


def test_what_was_inspected_off_line_is_told_once_keys_are_shared():
    life = Life()
    assert life.do(TaskSeen("job", TASK, ""), Inspected("job", TASK, 5, "")) == [
        Inspect("job", TASK)
    ]
    assert Enlist("job", TASK, 5, "") in life.do(LinkUp(), Secured(ERA))


def test_jobs_are_remembered_up_to_a_limit_the_oldest_go_first():
    life = secured()
    for number in range(MAX_JOBS):
        life.do(Inspected(f"job-{number}", TASK, 1, ""))
    assert len(life.state.jobs) == MAX_JOBS
    assert "job" not in life.state.jobs


# --- offers ---------------------------------------------------------------------------------------


def test_an_offer_is_written_down_answered_and_fetched_in_this_order():
    life = secured()
    assert life.do(OfferSeen(offer())) == [
        Remember(ERA, {"job": 1}),
        Answer(1, accepted=True, reason=""),
        Fetch(offer()),
    ]
    assert life.do(Fetched(1)) == [Train(offer())]


def test_the_same_offer_again_while_training_is_answered_not_trained_twice():
    life = training()
    assert life.do(OfferSeen(offer(seconds=30))) == [Answer(1, accepted=True, reason="")]
    assert life.state.work is Work.TRAINING


def test_an_offer_under_a_new_job_key_is_fetched_anew():
    life = secured()
    life.do(OfferSeen(offer()))
    renewed = offer(key=b"n" * 32)
    assert life.do(OfferSeen(renewed)) == [Answer(1, accepted=True, reason=""), Fetch(renewed)]
    assert life.do(Fetched(1)) == [Train(renewed)]


def test_an_offer_whose_update_waits_for_its_receipt_is_answered_with_the_update():
    life = waiting()
    assert life.do(OfferSeen(offer())) == [Send(ID)]
    assert life.state.work is Work.IDLE


def test_an_offer_of_a_lower_turn_is_refused():
    life = waiting()
    life.do(OfferSeen(offer(5)), Fetched(5), Trained(5, b"5" * 16))
    answer, say = life.do(OfferSeen(offer(4)))
    assert answer == Answer(4, accepted=False, reason="turn 5 of this job was seen already")
    assert "declined turn 4" in say.text


def test_a_box_killed_in_training_takes_the_same_turn_again():
    life = secured(era=ERA, turns={"job": 3})
    assert Fetch(offer(3)) in life.do(OfferSeen(offer(3)))


def test_a_higher_turn_of_the_same_job_replaces_the_current_one():
    life = training()
    actions = life.do(OfferSeen(offer(2)))
    assert actions[0] == Cancel(1)
    assert actions[-1] == Fetch(offer(2))
    assert life.do(Fetched(1)) == []
    assert life.state.work is Work.FETCHING


def test_a_box_busy_with_another_job_declines():
    life = training()
    life.do(Inspected("other", TASK, 40, ""))
    assert Answer(2, accepted=False, reason="busy with job") in life.do(
        OfferSeen(offer(2, "other"))
    )
    assert (life.state.work, life.state.offer) == (Work.TRAINING, offer())


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (OfferSeen(offer(), "too many steps"), "too many steps"),
        (OfferSeen(offer(job="empty"), "too many steps"), "too many steps"),
        (OfferSeen(offer(job="empty")), "no rows here"),
    ],
)
def test_an_offer_this_box_cannot_take_is_declined_with_the_reason(seen, reason):
    life = secured()
    life.do(Inspected("empty", TASK, 0, "no rows here"))
    assert life.do(seen)[0] == Answer(1, accepted=False, reason=reason)
    assert life.state.offer is None


@pytest.mark.parametrize("early", [offer(job="unheard"), offer(task=b"x" * 16)])
def test_an_offer_before_its_rows_are_looked_through_waits_for_the_next_one(early):
    """As after a restart; declining would cost the box the round, enlisting brings the offer."""
    life = secured()
    (told,) = life.do(OfferSeen(early))
    assert "not known here yet" in told.text
    life.do(Inspected(early.job, early.task, 40, ""))
    assert Fetch(early) in life.do(OfferSeen(early))


def test_nothing_is_taken_before_an_era_is_agreed():
    life = Life()
    life.do(Inspected("job", TASK, 40, ""))
    assert life.do(OfferSeen(offer()))[0].reason == "no era is agreed yet"


def test_out_of_time_cancels():
    life = training()
    assert life.do(Tick(), after=59.0) == []
    cancel, say = life.do(Tick(), after=1.0)
    assert cancel == Cancel(1)
    assert "ran out of time" in say.text
    assert (life.state.work, life.state.offer) == (Work.IDLE, None)


@pytest.mark.parametrize("fetched", [False, True])
def test_failed_work_is_told_to_the_coordinator(fetched):
    life = training() if fetched else secured()
    if not fetched:
        life.do(OfferSeen(offer()))
    answer, say = life.do(Failed(1, "the loss is nan"))
    assert answer == Answer(1, accepted=False, reason="the loss is nan")
    assert "the loss is nan" in say.text
    assert life.state.work is Work.IDLE


def test_a_result_of_work_given_up_is_not_taken_for_the_offer_being_fetched():
    life = training()
    life.do(Tick(), after=60.0)
    life.do(OfferSeen(offer(1)))
    assert life.do(Trained(1, ID)) == [Forget(ID)]
    assert life.state.work is Work.FETCHING


def test_results_of_work_that_was_given_up_are_thrown_away():
    life = training()
    life.do(OfferSeen(offer(2)), Fetched(2))
    assert life.do(Trained(1, ID)) == [Forget(ID)]
    assert life.do(Failed(1, "killed")) == []
    assert life.state.offer == offer(2)


# --- outbox ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [STORED, DUPLICATE])
def test_an_ack_drops_the_update(code):
    life = waiting()
    assert life.do(Acked(ID, code, "")) == [Forget(ID)]
    assert life.state.outbox == ()


def test_a_refused_update_is_dropped_with_a_line():
    life = waiting()
    forget, say = life.do(Acked(ID, REFUSED, "turn 1 is over"))
    assert forget == Forget(ID)
    assert "turn 1 is over" in say.text


def test_an_ack_for_something_else_changes_nothing():
    life = waiting()
    assert life.do(Acked(b"?" * 16, STORED, "")) == []
    assert [w.id for w in life.state.outbox] == [ID]


def test_an_update_is_sent_again_with_doubling_waits_and_then_keys_are_exchanged_again():
    life = waiting()
    for number in range(TRIES_BEFORE_REKEY):
        assert wake(life.state) - life.now == ACK_WAIT * 2**number
        assert life.do(Tick(), after=ACK_WAIT * 2**number) == [Send(ID)]
    birth, say = life.do(Tick(), after=ACK_WAIT * 2**TRIES_BEFORE_REKEY)
    assert birth == GiveBirth()
    assert "no ack" in say.text
    assert life.do(Secured(ERA))[-1] == Send(ID)
    assert life.state.outbox == (Waiting(ID, 1, life.now + ACK_WAIT, 0),)


def test_nothing_is_sent_while_no_keys_are_shared():
    life = waiting()
    life.do(LinkUp())
    assert life.do(Tick(), after=ACK_WAIT * 10) == [GiveBirth()]


# --- any run of events ----------------------------------------------------------------------------

JOBS = st.sampled_from(["job", "two"])
TURNS = st.integers(1, 5)
ERAS = st.sampled_from([ERA, LATER])

EVENTS = st.one_of(
    st.builds(LinkUp),
    st.builds(LinkDown),
    st.builds(CoordinatorSeen, st.integers(1, 3), ERAS, st.booleans()),
    st.builds(Secured, ERAS),
    st.builds(TaskSeen, JOBS, st.just(TASK), st.sampled_from(["", "", "no"])),
    st.builds(Inspected, JOBS, st.just(TASK), st.sampled_from([0, 40, 40]), st.just("why")),
    st.builds(OfferSeen, st.builds(offer, TURNS, JOBS), st.sampled_from(["", "", "no"])),
    st.builds(Fetched, TURNS),
    st.builds(Trained, TURNS, st.binary(min_size=16, max_size=16)),
    st.builds(Failed, TURNS, st.just("why")),
    st.builds(Acked, st.just(b""), st.sampled_from([STORED, DUPLICATE, REFUSED]), st.just("why")),
    st.builds(Tick),
)
RUNS = st.lists(st.tuples(EVENTS, st.sampled_from([0.0, 1.0, 20.0, 100.0])), max_size=60)
STARTED = [
    LinkUp(),
    CoordinatorSeen(1, ERA, online=True),
    Secured(ERA),
    Inspected("job", TASK, 4, ""),
]


def replace_id(event: Acked, state: State) -> Acked:
    return Acked(state.outbox[0].id, event.code, event.text)


def check_step(before: State, event: Event, after: State, actions: tuple[Action, ...]) -> None:
    assert (after.offer is None) == (after.work is Work.IDLE)
    if after.era == before.era:
        assert all(after.turns[job] >= turn for job, turn in before.turns.items())
    else:
        assert Remember(after.era, {}) in actions
    if after.turns != before.turns and after.turns:
        assert Remember(after.era, after.turns) in actions
    for train in of(Train, list(actions)):
        assert event == Fetched(train.offer.turn)
        assert before.work is Work.FETCHING
    if after.work is Work.IDLE and before.work is not Work.IDLE:
        assert of(Cancel, list(actions)) or isinstance(event, Trained | Failed)


@settings(max_examples=300, deadline=None)
@given(RUNS, st.booleans())
def test_any_run_of_events_leaves_a_well_formed_box(run, started):
    life, spooled, forgotten = Life(), set(), set()
    for event, seconds in [*((e, 0.0) for e in STARTED if started), *run]:
        if isinstance(event, Acked) and life.state.outbox:
            event = replace_id(event, life.state)  # noqa: PLW2901 - aimed at what waits
        if isinstance(event, Trained):
            spooled.add(event.id)
            forgotten.discard(event.id)
        before = life.state
        actions = life.do(event, after=seconds)
        check_step(before, event, life.state, tuple(actions))
        forgotten |= {action.id for action in of(Forget, actions)}
        assert spooled == {w.id for w in life.state.outbox} | (forgotten & spooled)


@settings(max_examples=200, deadline=None)
@given(RUNS)
def test_a_tick_in_time_is_never_due_again_at_once(run):
    life = Life()
    for event, seconds in [*((e, 0.0) for e in STARTED), *run]:
        life.do(event, after=seconds)
    if (at := wake(life.state)) < inf:
        life.do(Tick(), after=max(0.0, at - life.now))
        assert wake(life.state) > life.now
