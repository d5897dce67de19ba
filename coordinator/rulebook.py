"""What both tables of rounds are written with: their rules' shape, and the rules they share."""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from coordinator.jobstate import (
    Action,
    CloseMissed,
    Event,
    FoldFailed,
    JobState,
    Member,
    OfferTo,
    Phase,
    ResumeAsked,
    Say,
    StopAsked,
)
from coordinator.selection.candidates import Candidate
from coordinator.selection.plan import overdrawn
from proto.messages import EVALUATE

NUDGE = 10.0
"""Seconds until an offer without an answer is sent again."""
MISS_WAIT = 5.0
"""Seconds to wait after a round that missed its quorum; doubles up to MAX_MISS_WAIT."""
MAX_MISS_WAIT = 300.0

Step = tuple[JobState, tuple[Action, ...]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What handles an event in a phase, and which phases it may lead to."""

    handle: Callable[[JobState, Event, float], Step]
    to: frozenset[Phase]


def rule(handle: Callable[..., Step], *to: Phase) -> Rule:
    return Rule(handle, frozenset(to))


def offer(member: Member, seconds: float) -> OfferTo:
    return OfferTo(member.box, seconds, member.steps)


def short(state: JobState, candidates: tuple[Candidate, ...]) -> Step:
    """Too few can be asked. Boxes come back by themselves; a spent budget somebody must know of."""
    spent = tuple(c.box for c in candidates if overdrawn(c, state.rules.budget))
    if spent == state.spent:
        return state, ()
    text = f"waits: {', '.join(spent)} did their share of this job (budget.asks)"
    return replace(state, spent=spent), (Say(text),) if spent else ()


def pause(state: JobState) -> float:
    """Seconds before a round that came to nothing is run again."""
    return min(MISS_WAIT * 2.0**state.misses, MAX_MISS_WAIT)


def end(state: JobState, reason: str) -> Step:
    """No further training: the last model is judged, where the rules want that."""
    if state.rules.evaluate:
        return replace(state, kind=EVALUATE, reason=reason), ()
    return replace(state, phase=Phase.FINISHED, reason=reason), (Say(f"ends: {reason}"),)


def fold_failed(state: JobState, event: FoldFailed, now: float) -> Step:
    text = f"{state.title} could not be folded: {event.reason}"
    state = replace(
        state,
        phase=Phase.STOPPED if state.stop_asked else Phase.WAITING,
        stop_asked=False,
        members=(),
        answers="",
        misses=min(state.misses + 1, 16),
        not_before=now + pause(state),
    )
    return state, (CloseMissed(), Say(text))


def stop_later(state: JobState, _event: StopAsked, _now: float) -> Step:
    return replace(state, stop_asked=True), ()


def stopped(state: JobState, actions: tuple[Action, ...] = ()) -> Step:
    """Do now what `stop_later` put off."""
    said = Say("stopped as asked; `coordinator resume` goes on")
    return replace(state, phase=Phase.STOPPED, stop_asked=False), (*actions, said)


def resume(state: JobState, _event: ResumeAsked, now: float) -> Step:
    state = replace(state, phase=Phase.WAITING, not_before=now, misses=0)
    return state, (Say(f"goes on with {state.title}"),)
