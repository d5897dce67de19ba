"""The life of a job and its rounds as a table: `step(state, event, now) -> (state, actions)`.

A round waits for boxes, collects their updates, folds them, publishes what came of it. No I/O,
clock or randomness here: the shell (`coordinator/jobs.py`) writes each new state down before it
carries the actions out, so that a killed coordinator goes on where it was; `Restarted` names what
to do again. `now` is seconds, never running backwards within a process.

The training of an asynchronous job has a table of its own: `coordinator/buffered.py`.
"""

from msgspec.structs import replace

from coordinator import buffered
from coordinator.jobstate import (
    ACCEPTED,
    DECLINED,
    OFFERED,
    UPDATED,
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
    Member,
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
    request_of,
)
from coordinator.rulebook import (
    MISS_WAIT,
    NUDGE,
    Rule,
    Step,
    end,
    fold_failed,
    offer,
    pause,
    resume,
    rule,
    short,
    stop_later,
    stopped,
)
from coordinator.selection.plan import plan
from coordinator.selection.stopping import advised, enough, progressed
from proto.messages import EVALUATE, TRAIN


def step(state: JobState, event: Event, now: float) -> Step:
    """One event. An event that means nothing in this phase changes nothing."""
    table = buffered.TABLE if state.buffered else TABLE
    found = table.get((state.phase, type(event)))
    if found is None:
        return state, ()
    after, actions = found.handle(state, event, now)
    assert after.phase in found.to, f"{state.phase} -> {after.phase} is not in the table"
    return after, actions


def wake(state: JobState) -> float | None:
    """When the next Tick or Consider is due, or None."""
    if state.phase is Phase.COLLECTING:
        times = [at for at in (state.due, state.nudge) if at or not state.buffered]
        return min(times, default=None)
    return state.not_before if state.phase is Phase.WAITING else None


# --- waiting --------------------------------------------------------------------------------------


def _consider(state: JobState, event: Consider, now: float) -> Step:
    if now < state.not_before:
        return state, ()
    if state.kind == TRAIN and (reason := advised(state, event.advice)):
        state, actions = end(state, reason)
        if state.phase is Phase.FINISHED:
            return state, actions
    if state.edges is None and event.advice is not None:
        state = replace(state, edges=event.advice.edges)
    rules = state.rules
    chosen = plan(event.candidates, request_of(state, event))
    if len(chosen.cohort) < rules.quorum:
        return short(replace(state, ready_since=0.0), event.candidates)
    since = state.ready_since or now
    wanted = 0 if chosen.fewer else max(rules.cohort, rules.concurrency, rules.quorum)
    if len(chosen.cohort) < wanted and now < since + rules.gather:
        return replace(state, ready_since=since, not_before=min(since + rules.gather, now + 1)), ()
    members = tuple([Member(box, chosen.steps.get(box, 0)) for box in sorted(chosen.cohort)])
    state = replace(
        state,
        phase=Phase.COLLECTING,
        turn=event.turn,
        members=members,
        answers=OFFERED * len(members),
        due=now + rules.deadline,
        nudge=now + NUDGE,
        ready_since=0.0,
    )
    return state, (Open(chosen), *[offer(m, rules.deadline) for m in members])


# --- collecting -----------------------------------------------------------------------------------


def _answered(state: JobState, event: Answered, now: float) -> Step:
    if event.turn != state.turn:
        return state, ()
    answer = ACCEPTED if event.accepted else DECLINED
    return _settle(_mark(state, event.box, answer, OFFERED + ACCEPTED), now)


def _stored(state: JobState, event: UpdateStored, now: float) -> Step:
    if event.turn != state.turn:
        return state, ()
    return _settle(_mark(state, event.box, UPDATED, OFFERED + ACCEPTED + DECLINED), now)


def _departed(state: JobState, event: Departed, now: float) -> Step:
    at = state.place(event.box)
    if at is None:
        return _settle(state, now)
    members, answers = state.members, state.answers
    left = (*members[:at], *members[at + 1 :])
    return _settle(replace(state, members=left, answers=answers[:at] + answers[at + 1 :]), now)


def _mark(state: JobState, box: str, answer: str, before: str) -> JobState:
    """The state with a box's answer in it, where its last one is among those `before`."""
    at, answers = state.place(box), state.answers
    if at is None or answers[at] not in before:
        return state
    return replace(state, answers=answers[:at] + answer + answers[at + 1 :])


def _settle(state: JobState, now: float) -> Step:
    """Close early once nobody is left to wait for."""
    waits = OFFERED in state.answers or ACCEPTED in state.answers
    return (state, ()) if waits else _close(state, now)


def _close(state: JobState, now: float) -> Step:
    if state.delivered >= state.rules.quorum:
        return replace(state, phase=Phase.FOLDING), (Fold(),)
    wait = pause(state)
    text = (
        f"{state.title} missed its quorum: {state.delivered} of {state.rules.quorum} updates "
        f"in time; they are dropped, the round is run again in {wait:.0f} s"
    )
    state = replace(
        state,
        phase=Phase.WAITING,
        members=(),
        answers="",
        misses=min(state.misses + 1, 16),
        not_before=now + wait,
    )
    return state, (CloseMissed(), Say(text))


def _collect_tick(state: JobState, _event: Tick, now: float) -> Step:
    if now >= state.due:
        return _close(state, now)
    if now < state.nudge:
        return state, ()
    answered = zip(state.members, state.answers, strict=True)
    silent = [m for m, answer in answered if answer == OFFERED]
    state = replace(state, nudge=now + NUDGE)
    return state, tuple(offer(m, state.due - now) for m in silent)


def _ready(state: JobState, event: BoxReady, now: float) -> Step:
    at = state.place(event.box)
    if at is None or now >= state.due or state.answers[at] not in (OFFERED, ACCEPTED):
        return state, ()
    return state, (offer(state.members[at], state.due - now),)


# --- folding and publishing -----------------------------------------------------------------------


def _folded(state: JobState, event: Folded, _now: float) -> Step:
    state = replace(state, phase=Phase.PUBLISHING, misses=0)
    if state.kind == TRAIN:
        state = progressed(state, event)
    return state, (Publish(),)


def _published(state: JobState, _event: Published, now: float) -> Step:
    state = replace(state, members=(), answers="", not_before=now)
    if state.kind == EVALUATE:
        return replace(state, phase=Phase.FINISHED), (Say(f"finished: {state.reason}"),)
    actions: tuple[Action, ...] = ()
    state = replace(state, phase=Phase.WAITING)
    if state.kind == TRAIN and (reason := enough(state)):
        state, actions = end(state, reason)
        if state.phase is Phase.FINISHED:
            return state, actions
    else:
        state = replace(state, kind=TRAIN, round=state.round + 1)
    if state.stop_asked:
        return stopped(state)
    return state, actions


# --- interruptions --------------------------------------------------------------------------------


def _stop(state: JobState, _event: StopAsked, _now: float) -> Step:
    text = "stopped as asked; `coordinator resume` goes on"
    actions: tuple[Action, ...] = (Say(text),)
    if state.phase is Phase.COLLECTING:
        dropped = f"{text}; {state.title} is run again, its {state.delivered} updates are dropped"
        actions = (CloseMissed(), Say(dropped))
    return replace(state, phase=Phase.STOPPED, members=(), answers=""), actions


def _restarted(state: JobState, _event: Restarted, now: float) -> Step:
    if state.phase is Phase.FOLDING:
        return state, (Fold(),)
    if state.phase is Phase.PUBLISHING:
        return state, (Publish(),)
    # The clock may have jumped while we were away: never wait longer than a fresh round would.
    due = min(state.due, now + state.rules.deadline)
    not_before = min(state.not_before, now + MISS_WAIT)
    state = replace(state, due=due, nudge=now + NUDGE, not_before=not_before, ready_since=0.0)
    return state, ()


def _era(state: JobState, _event: EraBegan, now: float) -> Step:
    text = f"{state.title} is run again: a new era began"
    state = replace(state, phase=Phase.WAITING, members=(), answers="", not_before=now)
    return state, (CloseMissed(), Say(text))


# --- the table ------------------------------------------------------------------------------------


WAIT, COLL, FOLD, PUB = Phase.WAITING, Phase.COLLECTING, Phase.FOLDING, Phase.PUBLISHING
DONE, STOP = Phase.FINISHED, Phase.STOPPED

TABLE: dict[tuple[Phase, type], Rule] = {
    (WAIT, Consider): rule(_consider, WAIT, COLL, DONE),
    (WAIT, StopAsked): rule(_stop, STOP),
    (WAIT, Restarted): rule(_restarted, WAIT),
    (COLL, Answered): rule(_answered, COLL, FOLD, WAIT),
    (COLL, UpdateStored): rule(_stored, COLL, FOLD, WAIT),
    (COLL, Departed): rule(_departed, COLL, FOLD, WAIT),
    (COLL, BoxReady): rule(_ready, COLL),
    (COLL, Tick): rule(_collect_tick, COLL, FOLD, WAIT),
    (COLL, StopAsked): rule(_stop, STOP),
    (COLL, Restarted): rule(_restarted, COLL),
    (COLL, EraBegan): rule(_era, WAIT),
    (FOLD, Folded): rule(_folded, PUB),
    (FOLD, FoldFailed): rule(fold_failed, WAIT, STOP),
    (FOLD, StopAsked): rule(stop_later, FOLD),
    (FOLD, Restarted): rule(_restarted, FOLD),
    (PUB, Published): rule(_published, WAIT, DONE, STOP),
    (PUB, StopAsked): rule(stop_later, PUB),
    (PUB, Restarted): rule(_restarted, PUB),
    (STOP, ResumeAsked): rule(resume, WAIT),
}
