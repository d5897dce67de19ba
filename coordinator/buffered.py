"""The training of an asynchronous job as a table: FedBuff (Nguyen et al. 2022, arXiv 2106.06639).

Up to `concurrency` boxes are at work at once, each on the model it was given. Their updates gather
in a buffer; once it holds `buffer` of them the model takes a step. That is a round, with a turn of
its own; boxes at work stay at work, and whoever has delivered, declined, run out of time or fallen
too far behind frees a place for another. Pure, as `coordinator/rounds.py`, whose phases these are.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from coordinator.jobstate import (
    Action,
    Answered,
    Ask,
    BoxReady,
    CloseMissed,
    Consider,
    Departed,
    EraBegan,
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
    places,
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
    resume,
    rule,
    short,
    stop_later,
    stopped,
)
from coordinator.selection.candidates import Candidate
from coordinator.selection.plan import Plan, plan
from coordinator.selection.stopping import advised, enough, progressed

BACK = 60.0
"""Seconds that boxes at work are given to come back to a coordinator that was away."""


def askable(state: JobState, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Those that may be asked now.

    No box is asked twice for one model or counts twice in a step: fast ones would fill them all.
    """
    out = {*state.asked, *state.buffer, *(m.box for m in state.members)}
    return tuple(c for c in candidates if c.box not in out)


# --- asking ---------------------------------------------------------------------------------------


def _consider(state: JobState, event: Consider, now: float) -> Step:
    if now < state.not_before:
        return state, ()
    if reason := advised(state, event.advice):
        return _over(state, reason, now)
    if state.edges is None and event.advice is not None:
        state = replace(state, edges=event.advice.edges)
    chosen = _chosen(state, event)
    if not chosen.cohort:
        return _nobody(state, event, now)
    opens = state.phase is Phase.WAITING
    if opens:
        state = replace(state, phase=Phase.COLLECTING, turn=event.turn)
    deadline = state.rules.deadline
    new = [
        Member(
            box,
            steps=chosen.steps.get(box, 0),
            turn=state.turn,
            round=state.round,
            asked=now,
            due=now + deadline,
        )
        for box in chosen.cohort
    ]
    state = _at_work(state, (*state.members, *new))
    state = replace(
        state,
        asked=tuple(sorted((*state.asked, *chosen.cohort))),
        nudge=state.nudge or now + NUDGE,
        look=now + _rest(state),
        ready_since=0.0,
    )
    told = Open(chosen) if opens else Ask(chosen)
    return state, (told, *(offer(m, deadline) for m in new))


def _chosen(state: JobState, event: Consider) -> Plan:
    if not places(state, event.bytes_each):
        return Plan(cohort=())
    return plan(askable(state, event.candidates), request_of(state, event))


def _nobody(state: JobState, event: Consider, now: float) -> Step:
    """Nobody else can be asked. With nobody at work either, the step is made with fewer updates."""
    if state.phase is Phase.WAITING:
        return short(state, event.candidates)
    rules, here = state.rules, len(state.buffer)
    if state.members or here < min(rules.quorum, rules.buffer):
        state = replace(state, ready_since=0.0, look=now + _rest(state))
        return short(state, event.candidates)
    since = state.ready_since or now
    if now < since + rules.gather:
        return replace(state, ready_since=since, look=min(since + rules.gather, now + 1)), ()
    text = f"{state.title} is done with {here} updates of {rules.buffer}: no other box can be asked"
    return replace(state, phase=Phase.FOLDING), (Say(text), Fold())


def _rest(state: JobState) -> float:
    return max(1.0, state.rules.gather)


def _at_work(state: JobState, members: Sequence[Member]) -> JobState:
    """The state with these at work."""
    due = min((m.due for m in members), default=0.0)
    ordered = tuple(sorted(members, key=lambda m: m.box))
    return replace(state, members=ordered, due=due, nudge=state.nudge if ordered else 0.0)


def _without(state: JobState, box: str) -> JobState:
    return _at_work(state, [m for m in state.members if m.box != box])


# --- at work --------------------------------------------------------------------------------------


def _answered(state: JobState, event: Answered, _now: float) -> Step:
    member = state.member(event.box, event.turn)
    if member is None:
        return state, ()
    if not event.accepted:
        return _without(state, event.box), ()
    accepted = replace(member, silent=False)
    return replace(state, members=tuple(accepted if m is member else m for m in state.members)), ()


def _stored(state: JobState, event: UpdateStored, _now: float) -> Step:
    if state.member(event.box, event.turn) is None:
        return state, ()
    state = _without(state, event.box)
    state = replace(state, buffer=tuple(sorted((*state.buffer, event.box))))
    if state.phase is Phase.COLLECTING and len(state.buffer) >= state.rules.buffer:
        return replace(state, phase=Phase.FOLDING), (Fold(),)
    return state, ()


def _departed(state: JobState, event: Departed, _now: float) -> Step:
    state = _without(state, event.box)
    if state.phase is Phase.PUBLISHING or event.box not in state.buffer:
        return state, ()  # what it sent is in the model
    state = replace(state, buffer=tuple(box for box in state.buffer if box != event.box))
    return state, (Say(f"{event.box} was revoked: its update is dropped"),)


def _tick(state: JobState, _event: Tick, now: float) -> Step:
    actions: list[Action] = []
    if state.due and now >= state.due:
        late = [m for m in state.members if now >= m.due]
        state = _at_work(state, [m for m in state.members if now < m.due])
        actions += [Say(f"{m.box} is given up: no update within its time") for m in late]
    if state.nudge and now >= state.nudge:
        silent = [m for m in state.members if m.silent]
        actions += [offer(m, m.due - now) for m in silent if now >= m.asked + NUDGE]
        state = replace(state, nudge=now + NUDGE if silent else 0.0)
    return state, tuple(actions)


def _ready(state: JobState, event: BoxReady, now: float) -> Step:
    again = [m for m in state.members if m.box == event.box and now < m.due]
    return state, tuple(offer(m, m.due - now) for m in again)


# --- a step of the model --------------------------------------------------------------------------


def _folded(state: JobState, event: Folded, _now: float) -> Step:
    state = replace(state, phase=Phase.PUBLISHING, misses=0)
    return progressed(state, event), (Publish(),)


def _fold_failed(state: JobState, event: FoldFailed, now: float) -> Step:
    state, given_up = _given_up(state, "the buffer could not be folded")
    state, actions = fold_failed(state, event, now)
    return state, (*given_up, *actions)


def _published(state: JobState, event: Published, now: float) -> Step:
    state = replace(state, buffer=(), asked=(), not_before=now, ready_since=0.0)
    if reason := enough(state):
        return _over(state, reason, now)
    state = replace(state, round=state.round + 1)
    if state.stop_asked:
        state, given_up = _given_up(state, "stopped")
        return stopped(state, given_up)
    most = state.rules.max_staleness
    old = [m for m in state.members if state.round - m.round > most]
    state = _at_work(state, [m for m in state.members if state.round - m.round <= most])
    state = replace(state, phase=Phase.COLLECTING, turn=event.turn, look=now)
    text = f"is given up: the model is more than {most} steps past the one it was given"
    return state, (Open(Plan(cohort=())), *(Say(f"{m.box} {text}") for m in old))


def _over(state: JobState, reason: str, now: float) -> Step:
    """Training is at its end; an agent may say so in the middle of a turn."""
    close = (CloseMissed(),) if state.phase is Phase.COLLECTING else ()
    state, given_up = _given_up(state, "training is over")
    state, actions = end(replace(state, phase=Phase.WAITING, not_before=now + 0.001), reason)
    if state.stop_asked and state.phase is Phase.WAITING:
        state, actions = stopped(state, actions)
    return state, (*close, *given_up, *actions)


# --- interruptions --------------------------------------------------------------------------------


def _given_up(state: JobState, why: str) -> tuple[JobState, tuple[Say, ...]]:
    """Without what is in the buffer and at work, each of which is told."""
    lost = [Say(f"{why}: the update of {box} is dropped") for box in state.buffer]
    lost += [Say(f"{why}: {m.box}, at work, is given up") for m in state.members]
    bare = replace(state, members=(), buffer=(), asked=(), due=0.0, nudge=0.0, look=0.0)
    return replace(bare, ready_since=0.0), tuple(lost)


def _stop(state: JobState, _event: StopAsked, _now: float) -> Step:
    close = (CloseMissed(),) if state.phase is Phase.COLLECTING else ()
    state, given_up = _given_up(state, "stopped")
    return stopped(state, (*close, *given_up))


def _era(state: JobState, _event: EraBegan, now: float) -> Step:
    """Boxes have forgotten what they were given; a step that is being made is made."""
    if state.phase is not Phase.COLLECTING:
        bare, given_up = _given_up(replace(state, buffer=()), "a new era began")
        return replace(bare, buffer=state.buffer), given_up
    text = f"{state.title} is run again: a new era began"
    state, given_up = _given_up(state, "a new era began")
    state = replace(state, phase=Phase.WAITING, not_before=now)
    return state, (CloseMissed(), *given_up, Say(text))


def _restarted(state: JobState, _event: Restarted, now: float) -> Step:
    # The clock may have jumped while we were away, and who has delivered meanwhile was not heard.
    deadline = state.rules.deadline
    back = [
        replace(m, due=min(max(m.due, now + BACK), now + deadline), asked=min(m.asked, now))
        for m in state.members
    ]
    not_before = min(state.not_before, now + MISS_WAIT)
    state = replace(_at_work(state, back), not_before=not_before, look=now, ready_since=0.0)
    state = replace(state, nudge=now + NUDGE if back else 0.0)
    if state.phase is Phase.FOLDING:
        return state, (Fold(),)
    return state, (Publish(),) if state.phase is Phase.PUBLISHING else ()


# --- the table ------------------------------------------------------------------------------------

WAIT, COLL, FOLD, PUB = Phase.WAITING, Phase.COLLECTING, Phase.FOLDING, Phase.PUBLISHING
DONE, STOP = Phase.FINISHED, Phase.STOPPED

TABLE: dict[tuple[Phase, type], Rule] = {
    (WAIT, Consider): rule(_consider, WAIT, COLL, DONE),
    (WAIT, StopAsked): rule(_stop, STOP),
    (WAIT, Restarted): rule(_restarted, WAIT),
    (COLL, Consider): rule(_consider, COLL, FOLD, WAIT, DONE),
    (COLL, Answered): rule(_answered, COLL),
    (COLL, UpdateStored): rule(_stored, COLL, FOLD),
    (COLL, Departed): rule(_departed, COLL),
    (COLL, BoxReady): rule(_ready, COLL),
    (COLL, Tick): rule(_tick, COLL),
    (COLL, StopAsked): rule(_stop, STOP),
    (COLL, Restarted): rule(_restarted, COLL),
    (COLL, EraBegan): rule(_era, WAIT),
    (FOLD, Answered): rule(_answered, FOLD),
    (FOLD, UpdateStored): rule(_stored, FOLD),
    (FOLD, Departed): rule(_departed, FOLD),
    (FOLD, EraBegan): rule(_era, FOLD),
    (FOLD, Folded): rule(_folded, PUB),
    (FOLD, FoldFailed): rule(_fold_failed, WAIT, STOP),
    (FOLD, StopAsked): rule(stop_later, FOLD),
    (FOLD, Restarted): rule(_restarted, FOLD),
    (PUB, Answered): rule(_answered, PUB),
    (PUB, Departed): rule(_departed, PUB),
    (PUB, EraBegan): rule(_era, PUB),
    (PUB, Published): rule(_published, WAIT, COLL, DONE, STOP),
    (PUB, StopAsked): rule(stop_later, PUB),
    (PUB, Restarted): rule(_restarted, PUB),
    (STOP, ResumeAsked): rule(resume, WAIT),
}
