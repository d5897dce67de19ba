"""The life of a job and its rounds as a table: `step(state, event, now) -> (state, actions)`.

A round waits for boxes, collects their updates, folds them, publishes what came of it. No I/O,
clock or randomness here: the shell (`coordinator/jobs.py`) writes each new state down before it
carries the actions out, so that a killed coordinator goes on where it was; `Restarted` names what
to do again. `now` is seconds, never running backwards within a process.
"""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

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
    Member,
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
    request_of,
)
from coordinator.selection.candidates import Candidate
from coordinator.selection.plan import overdrawn, plan
from coordinator.selection.stopping import advised, enough, progressed
from proto.messages import EVALUATE, TRAIN

NUDGE = 10.0
"""Seconds until an offer without an answer is sent again."""
MISS_WAIT = 5.0
"""Seconds to wait after a round that missed its quorum; doubles up to MAX_MISS_WAIT."""
MAX_MISS_WAIT = 300.0

Step = tuple[JobState, tuple[Action, ...]]


def step(state: JobState, event: Event, now: float) -> Step:
    """One event. An event that means nothing in this phase changes nothing."""
    rule = TABLE.get((state.phase, type(event)))
    if rule is None:
        return state, ()
    after, actions = rule.handle(state, event, now)
    assert after.phase in rule.to, f"{state.phase} -> {after.phase} is not in the table"
    return after, actions


def wake(state: JobState) -> float | None:
    """When the next Tick or Consider is due, or None."""
    if state.phase is Phase.COLLECTING:
        return min(state.due, state.nudge)
    return state.not_before if state.phase is Phase.WAITING else None


# --- waiting --------------------------------------------------------------------------------------


def _consider(state: JobState, event: Consider, now: float) -> Step:
    if now < state.not_before:
        return state, ()
    if state.kind == TRAIN and (reason := advised(state, event.advice)):
        state, actions = _end(state, reason)
        if state.phase is Phase.FINISHED:
            return state, actions
    if state.edges is None and event.advice is not None:
        state = replace(state, edges=event.advice.edges)
    rules = state.rules
    chosen = plan(event.candidates, request_of(state, event))
    if len(chosen.cohort) < rules.quorum:
        return _short(replace(state, ready_since=0.0), event.candidates)
    since = state.ready_since or now
    wanted = 0 if chosen.fewer else max(rules.cohort, rules.quorum)
    if len(chosen.cohort) < wanted and now < since + rules.gather:
        return replace(state, ready_since=since, not_before=min(since + rules.gather, now + 1)), ()
    members = tuple(Member(box, steps=chosen.steps.get(box, 0)) for box in sorted(chosen.cohort))
    state = replace(
        state,
        phase=Phase.COLLECTING,
        turn=event.turn,
        members=members,
        due=now + rules.deadline,
        nudge=now + NUDGE,
        ready_since=0.0,
    )
    return state, (Open(chosen), *(_offer(m, rules.deadline) for m in members))


def _short(state: JobState, candidates: tuple[Candidate, ...]) -> Step:
    """No quorum. Boxes come back by themselves; a budget that is used up somebody must know of."""
    spent = tuple(c.box for c in candidates if overdrawn(c, state.rules.budget))
    if spent == state.spent:
        return state, ()
    text = f"waits: {', '.join(spent)} did their share of this job (budget.asks)"
    return replace(state, spent=spent), (Say(text),) if spent else ()


# --- collecting -----------------------------------------------------------------------------------


def _answered(state: JobState, event: Answered, now: float) -> Step:
    if event.turn != state.turn:
        return state, ()
    answer = "accepted" if event.accepted else "declined"
    return _settle(_mark(state, event.box, answer, ("offered", "accepted")), now)


def _stored(state: JobState, event: UpdateStored, now: float) -> Step:
    if event.turn != state.turn:
        return state, ()
    return _settle(_mark(state, event.box, "updated", ("offered", "accepted", "declined")), now)


def _departed(state: JobState, event: Departed, now: float) -> Step:
    members = tuple(m for m in state.members if m.box != event.box)
    return _settle(replace(state, members=members), now)


def _mark(state: JobState, box: str, answer: str, before: tuple[str, ...]) -> JobState:
    members = state.members
    at = state.place(box)
    if at is None or members[at].answer not in before:
        return state
    marked = replace(members[at], answer=answer)
    return replace(state, members=(*members[:at], marked, *members[at + 1 :]))


def _settle(state: JobState, now: float) -> Step:
    """Close early once nobody is left to wait for."""
    return (state, ()) if state.waits else _close(state, now)


def _close(state: JobState, now: float) -> Step:
    if len(state.updated) >= state.rules.quorum:
        return replace(state, phase=Phase.FOLDING), (Fold(),)
    wait = min(MISS_WAIT * 2**state.misses, MAX_MISS_WAIT)
    text = (
        f"{state.title} missed its quorum: {len(state.updated)} of {state.rules.quorum} updates "
        f"in time; they are dropped, the round is run again in {wait:.0f} s"
    )
    state = replace(
        state,
        phase=Phase.WAITING,
        members=(),
        misses=min(state.misses + 1, 16),
        not_before=now + wait,
    )
    return state, (CloseMissed(), Say(text))


def _collect_tick(state: JobState, _event: Tick, now: float) -> Step:
    if now >= state.due:
        return _close(state, now)
    if now < state.nudge:
        return state, ()
    silent = [m for m in state.members if m.answer == "offered"]
    state = replace(state, nudge=now + NUDGE)
    return state, tuple(_offer(m, state.due - now) for m in silent)


def _ready(state: JobState, event: BoxReady, now: float) -> Step:
    if now < state.due:
        again = (m for m in state.members if m.box == event.box and m.box in state.pending)
        return state, tuple(_offer(m, state.due - now) for m in again)
    return state, ()


def _offer(member: Member, seconds: float) -> OfferTo:
    return OfferTo(member.box, seconds, member.steps)


# --- folding and publishing -----------------------------------------------------------------------


def _folded(state: JobState, event: Folded, _now: float) -> Step:
    state = replace(state, phase=Phase.PUBLISHING, misses=0)
    if state.kind == TRAIN:
        state = progressed(state, event)
    return state, (Publish(),)


def _fold_failed(state: JobState, event: FoldFailed, now: float) -> Step:
    state = replace(
        state,
        phase=Phase.STOPPED if state.stop_asked else Phase.WAITING,
        stop_asked=False,
        members=(),
        misses=min(state.misses + 1, 16),
        not_before=now + min(MISS_WAIT * 2**state.misses, MAX_MISS_WAIT),
    )
    return state, (CloseMissed(), Say(f"{state.title} could not be folded: {event.reason}"))


def _published(state: JobState, _event: Published, now: float) -> Step:
    state = replace(state, members=(), not_before=now)
    if state.kind == EVALUATE:
        return replace(state, phase=Phase.FINISHED), (Say(f"finished: {state.reason}"),)
    actions: tuple[Action, ...] = ()
    state = replace(state, phase=Phase.WAITING)
    if state.kind == TRAIN and (reason := enough(state)):
        state, actions = _end(state, reason)
        if state.phase is Phase.FINISHED:
            return state, actions
    else:
        state = replace(state, kind=TRAIN, round=state.round + 1)
    if state.stop_asked:
        return replace(state, phase=Phase.STOPPED, stop_asked=False), (Say("stopped as asked"),)
    return state, actions


def _end(state: JobState, reason: str) -> Step:
    """No further training: the last model is judged, where the rules want that."""
    if state.rules.evaluate:
        return replace(state, kind=EVALUATE, reason=reason), ()
    return replace(state, phase=Phase.FINISHED, reason=reason), (Say(f"ends: {reason}"),)


# --- interruptions --------------------------------------------------------------------------------


def _stop(state: JobState, _event: StopAsked, _now: float) -> Step:
    text = "stopped as asked; `coordinator resume` goes on"
    actions: tuple[Action, ...] = (Say(text),)
    if state.phase is Phase.COLLECTING:
        dropped = (
            f"{text}; {state.title} is run again, its {len(state.updated)} updates are dropped"
        )
        actions = (CloseMissed(), Say(dropped))
    return replace(state, phase=Phase.STOPPED, members=()), actions


def _stop_later(state: JobState, _event: StopAsked, _now: float) -> Step:
    return replace(state, stop_asked=True), ()


def _resume(state: JobState, _event: ResumeAsked, now: float) -> Step:
    state = replace(state, phase=Phase.WAITING, not_before=now, misses=0)
    return state, (Say(f"goes on with {state.title}"),)


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
    state = replace(state, phase=Phase.WAITING, members=(), not_before=now)
    return state, (CloseMissed(), Say(text))


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """What handles an event in a phase, and which phases it may lead to."""

    handle: Callable[[JobState, Event, float], Step]
    to: frozenset[Phase]


def _rule(handle: Callable[..., Step], *to: Phase) -> Rule:
    return Rule(handle, frozenset(to))


WAIT, COLL, FOLD, PUB = Phase.WAITING, Phase.COLLECTING, Phase.FOLDING, Phase.PUBLISHING
DONE, STOP = Phase.FINISHED, Phase.STOPPED

TABLE: dict[tuple[Phase, type], Rule] = {
    (WAIT, Consider): _rule(_consider, WAIT, COLL, DONE),
    (WAIT, StopAsked): _rule(_stop, STOP),
    (WAIT, Restarted): _rule(_restarted, WAIT),
    (COLL, Answered): _rule(_answered, COLL, FOLD, WAIT),
    (COLL, UpdateStored): _rule(_stored, COLL, FOLD, WAIT),
    (COLL, Departed): _rule(_departed, COLL, FOLD, WAIT),
    (COLL, BoxReady): _rule(_ready, COLL),
    (COLL, Tick): _rule(_collect_tick, COLL, FOLD, WAIT),
    (COLL, StopAsked): _rule(_stop, STOP),
    (COLL, Restarted): _rule(_restarted, COLL),
    (COLL, EraBegan): _rule(_era, WAIT),
    (FOLD, Folded): _rule(_folded, PUB),
    (FOLD, FoldFailed): _rule(_fold_failed, WAIT, STOP),
    (FOLD, StopAsked): _rule(_stop_later, FOLD),
    (FOLD, Restarted): _rule(_restarted, FOLD),
    (PUB, Published): _rule(_published, WAIT, DONE, STOP),
    (PUB, StopAsked): _rule(_stop_later, PUB),
    (PUB, Restarted): _rule(_restarted, PUB),
    (STOP, ResumeAsked): _rule(_resume, WAIT),
}
