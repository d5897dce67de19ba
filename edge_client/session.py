"""The life of a box as a table: `step(state, event, now) -> (state, actions)`, and nothing else.

Two regions run side by side. *Link* says how far the box has got with the coordinator, *Work* what
it does meanwhile; a lost link never stops work. No I/O, clock or randomness here: the shell
(`edge_client/box.py`) carries the actions out and reports what happened as events. `now` is any
clock in seconds that never runs backwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import inf

from msgspec.structs import replace

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
    Known,
    Link,
    LinkDown,
    LinkUp,
    OfferSeen,
    Region,
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
from proto.messages import DUPLICATE, STORED, Era, Offer

ANSWER_WAIT = 5.0
"""Seconds until a birth without an answer is repeated; doubles up to MAX_WAIT."""
SETTLE = 1.0
"""Seconds after connecting in which the coordinator's retained state is expected."""
ACK_WAIT = 15.0
"""Seconds until an update without an ack is sent again; doubles up to MAX_WAIT."""
SLOWEST = 4096.0
"""Bytes a second of a link on which a large update is not sent twice for want of patience."""
MAX_WAIT = 300.0
EPOCH_LIFE = 86400.0
"""Seconds until keys are renewed."""
TRIES_BEFORE_REKEY = 3
MAX_JOBS = 64

# Members by names of their own: an enum looks each up anew, and the table asks often.
OFFLINE, ANNOUNCED, SECURED = Link.OFFLINE, Link.ANNOUNCED, Link.SECURED
IDLE, FETCHING, TRAINING = Work.IDLE, Work.FETCHING, Work.TRAINING

Step = tuple[State, tuple[Action, ...]]
Handle = Callable[..., Step]
"""Of a state, an event of one kind, and now."""


def start(era: Era | None, turns: Mapping[str, int], outbox: Mapping[bytes, int]) -> State:
    """The state of a box that was just started, from what it wrote down and kept in its outbox."""
    waiting = tuple(Waiting(id_, turn, 0.0) for id_, turn in outbox.items())
    return State(era=era, turns=dict(turns), outbox=waiting)


def step(state: State, event: Event, now: float) -> Step:
    """One event through both regions. Events that mean nothing in a region change nothing."""
    return _MEANING[type(event), state.work, state.link](state, event, now)


def allows(before: State, event: Event, after: State) -> bool:
    """Whether the table lets this event lead from one state to the other."""
    for at, reached in ((before.work, after.work), (before.link, after.link)):
        rule = TABLE.get((at, type(event)))
        if reached not in (rule.to if rule else (at,)):
            return False
    return True


def wake(state: State) -> float:
    """When the next Tick is due; infinity when only another event can change anything."""
    due = inf if state.offer is None else state.due
    if state.link is OFFLINE:
        return due
    if state.again < due:  # noqa: PLR1730 - `min` takes ten times as long
        due = state.again
    if state.link is SECURED:
        for waiting in state.outbox:
            if waiting.again < due:  # noqa: PLR1730 - as above
                due = waiting.again
    return due


# --- link -----------------------------------------------------------------------------------------


def _up(state: State, _event: LinkUp, now: float) -> Step:
    # The coordinator's retained state follows at once; the birth answers it, so that one key
    # exchange serves. Without a coordinator the box gives birth a moment later all the same.
    fresh = replace(state, link=ANNOUNCED, coordinator=None, again=now + SETTLE, tries=0)
    return fresh, ()


def _announce(state: State, now: float) -> Step:
    wait = min(ANSWER_WAIT * 2**state.tries, MAX_WAIT)
    state = replace(state, link=ANNOUNCED, again=now + wait, tries=min(state.tries + 1, 10))
    return state, (GiveBirth(),)


def _down(state: State, _event: LinkDown, _now: float) -> Step:
    return replace(state, link=OFFLINE), ()


def _coordinator(state: State, event: CoordinatorSeen, now: float) -> Step:
    seen = (event.session, event.era)
    if not event.online:
        return state, (Say("the coordinator has gone; work goes on and is kept"),)
    if seen == state.coordinator:
        return state, ()
    fresh, actions = _announce(replace(state, coordinator=seen, tries=0), now)
    if state.coordinator is None:
        return fresh, actions
    return fresh, (*actions, Say("the coordinator has started anew; keys are exchanged again"))


def _secured(state: State, event: Secured, now: float) -> Step:
    actions: list[Action] = []
    fresh: tuple[Action, ...] = ()
    if event.era != state.era:
        if state.era is not None:
            actions.append(Say(f"the coordinator lost its memory: era {event.era.number} begins"))
        fresh = (Remember(event.era, {}),)
        state = replace(state, era=event.era, turns={})
    sent = tuple(replace(w, again=now + ACK_WAIT + w.slack, tries=0) for w in state.outbox)
    state = replace(state, link=SECURED, tries=0, again=now + EPOCH_LIFE, outbox=sent)
    actions += [Enlist(job, k.task, k.rows, k.reason) for job, k in state.jobs.items()]
    actions += [Send(w.id) for w in state.outbox]
    if state.offer is not None:
        actions.append(Answer(state.offer.turn, accepted=True, reason=""))
    # Remembered last: should the disk refuse, all else is said, and the era is learnt again.
    return state, (*actions, *fresh)


def _link_tick(state: State, _event: Tick, now: float) -> Step:
    if now >= state.again:
        return _announce(state, now)
    if state.link is not SECURED:
        return state, ()
    late = [w for w in state.outbox if now >= w.again]
    if any(w.tries >= TRIES_BEFORE_REKEY for w in late):
        state, actions = _announce(replace(state, tries=0), now)
        return state, (*actions, Say("updates get no ack; keys are exchanged again"))
    kept = tuple(
        replace(w, again=now + _patience(w), tries=w.tries + 1) if w in late else w
        for w in state.outbox
    )
    return replace(state, outbox=kept), tuple(Send(w.id) for w in late)


def _patience(waiting: Waiting) -> float:
    doubled: float = ACK_WAIT * 2 ** (waiting.tries + 1)
    return min(doubled, MAX_WAIT) + waiting.slack


def _acked(state: State, event: Acked, _now: float) -> Step:
    left = tuple([w for w in state.outbox if w.id != event.id])
    if len(left) == len(state.outbox):
        return state, ()
    state = replace(state, outbox=left)
    if event.code in (STORED, DUPLICATE):
        return state, (Forget(event.id),)
    return state, (Forget(event.id), Say(f"the coordinator refused an update: {event.text}"))


def _task(state: State, event: TaskSeen, _now: float) -> Step:
    known = state.jobs.get(event.job)
    if known is not None and known.task == event.task:
        # Told again, now and then: should our answer have been lost, here it is once more.
        again = Enlist(event.job, event.task, known.rows, known.reason)
        return state, (again,) if state.link is SECURED else ()
    if event.refusal:
        return _inspected(state, Inspected(event.job, event.task, 0, event.refusal), _now)
    return state, (Inspect(event.job, event.task),)


def _inspected(state: State, event: Inspected, _now: float) -> Step:
    known = {**state.jobs, event.job: Known(event.task, event.rows, event.reason)}
    while len(known) > MAX_JOBS:
        idle = (job for job, k in known.items() if k.rows == 0 and job != event.job)
        del known[next(idle, next(iter(known)))]
    state = replace(state, jobs=known)
    enlist = Enlist(event.job, event.task, event.rows, event.reason)
    actions: tuple[Action, ...] = (enlist,) if state.link is SECURED else ()
    if event.rows == 0:
        actions += (Say(f"not taking part in {event.job}: {event.reason}"),)
    return state, actions


# --- work -----------------------------------------------------------------------------------------


def _offer(state: State, event: OfferSeen, now: float) -> Step:
    offer = event.offer
    if state.offer is not None and state.offer.turn == offer.turn:
        answer = Answer(offer.turn, accepted=True, reason="")
        if state.work is FETCHING and offer != state.offer:
            # The job's key was changed meanwhile: the old blobs are no longer on offer.
            return replace(state, offer=offer), (answer, Fetch(offer))
        return state, (answer,)
    known = state.jobs.get(offer.job)
    if known is None or known.task != offer.task:
        # Not looked through yet, as after a restart: the enlistment brings the offer again.
        return state, (Say(f"an offer of {offer.job}, whose task is not known here yet"),)
    for waiting in state.outbox:
        if waiting.turn == offer.turn:
            return state, (Send(waiting.id),)
    refusal = event.objection or _refusal(state, known, offer)
    if refusal:
        text = f"declined turn {offer.turn} of {offer.job}: {refusal}"
        return state, (Answer(offer.turn, accepted=False, reason=refusal), Say(text))
    return _take(state, offer, now)


def _refusal(state: State, known: Known, offer: Offer) -> str:
    if state.era is None:
        return "no era is agreed yet"
    if offer.turn < state.turns.get(offer.job, 0):
        return f"turn {state.turns[offer.job]} of this job was seen already"
    if known.rows == 0:
        return known.reason
    if state.offer is not None and state.offer.job != offer.job:
        return f"busy with {state.offer.job}"
    return ""


def _take(state: State, offer: Offer, now: float) -> Step:
    assert state.era is not None
    turns = dict(state.turns)
    turns.pop(offer.job, None)
    turns[offer.job] = offer.turn
    while len(turns) > MAX_JOBS:
        del turns[next(iter(turns))]
    answer = Answer(offer.turn, accepted=True, reason="")
    actions = (Remember(state.era, turns), answer, Fetch(offer))
    taken = replace(state, work=FETCHING, offer=offer, due=now + offer.seconds, turns=turns)
    if state.offer is not None:
        return taken, (Cancel(state.offer.turn), *actions)
    return taken, actions


def _fetched(state: State, event: Fetched, _now: float) -> Step:
    if state.offer is None or state.offer.turn != event.turn:
        return state, ()
    return replace(state, work=TRAINING), (Train(state.offer),)


def _void(state: State, event: Secured, _now: float) -> Step:
    """A new era knows nothing of the offer in hand."""
    if state.offer is None or event.era == state.era:
        return state, ()
    return replace(state, work=IDLE, offer=None), (Cancel(state.offer.turn),)


def _trained(state: State, event: Trained, now: float) -> Step:
    offer = state.offer
    if state.work is not TRAINING or offer is None or offer.turn != event.turn:
        # A result of work given up meanwhile, even of this turn, is of another offer.
        return state, (Forget(event.id),)
    slack = event.size / SLOWEST
    waiting = Waiting(event.id, event.turn, now + ACK_WAIT + slack, slack=slack)
    state = replace(state, work=IDLE, offer=None, outbox=(*state.outbox, waiting))
    return state, (Send(event.id),) if state.link is SECURED else ()


def _failed(state: State, event: Failed, _now: float) -> Step:
    if state.offer is None or state.offer.turn != event.turn:
        return state, ()
    text = f"turn {event.turn} of {state.offer.job} failed here: {event.reason}"
    state = replace(state, work=IDLE, offer=None)
    return state, (Answer(event.turn, accepted=False, reason=event.reason), Say(text))


def _work_tick(state: State, _event: Tick, now: float) -> Step:
    if state.offer is None or now < state.due:
        return state, ()
    text = f"turn {state.offer.turn} of {state.offer.job} ran out of time here"
    turn = state.offer.turn
    return replace(state, work=IDLE, offer=None), (Cancel(turn), Say(text))


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """What handles an event in a region's state, and which states it may lead to.

    Tests and `fleet chaos` hold it to those by `allows`; the pictures in docs/ are drawn so.
    """

    handle: Handle
    to: frozenset[Region]


def _rule(handle: Handle, *to: Region) -> Rule:
    return Rule(handle, frozenset(to))


TABLE: dict[tuple[Region, type], Rule] = {
    (OFFLINE, LinkUp): _rule(_up, ANNOUNCED),
    (ANNOUNCED, LinkUp): _rule(_up, ANNOUNCED),
    (SECURED, LinkUp): _rule(_up, ANNOUNCED),
    (ANNOUNCED, LinkDown): _rule(_down, OFFLINE),
    (SECURED, LinkDown): _rule(_down, OFFLINE),
    (ANNOUNCED, CoordinatorSeen): _rule(_coordinator, ANNOUNCED),
    (SECURED, CoordinatorSeen): _rule(_coordinator, SECURED, ANNOUNCED),
    (ANNOUNCED, Secured): _rule(_secured, SECURED),
    (SECURED, Secured): _rule(_secured, SECURED),
    (ANNOUNCED, Tick): _rule(_link_tick, ANNOUNCED),
    (SECURED, Tick): _rule(_link_tick, SECURED, ANNOUNCED),
    **{(link, Acked): _rule(_acked, link) for link in Link},
    **{(link, TaskSeen): _rule(_task, link) for link in Link},
    **{(link, Inspected): _rule(_inspected, link) for link in Link},
    (IDLE, OfferSeen): _rule(_offer, IDLE, FETCHING),
    (FETCHING, OfferSeen): _rule(_offer, FETCHING),
    (TRAINING, OfferSeen): _rule(_offer, TRAINING, FETCHING),
    (FETCHING, Fetched): _rule(_fetched, FETCHING, TRAINING),
    (FETCHING, Secured): _rule(_void, FETCHING, IDLE),
    (TRAINING, Secured): _rule(_void, TRAINING, IDLE),
    (IDLE, Trained): _rule(_trained, IDLE),
    (FETCHING, Trained): _rule(_trained, FETCHING),
    (TRAINING, Trained): _rule(_trained, TRAINING, IDLE),
    (FETCHING, Failed): _rule(_failed, FETCHING, IDLE),
    (TRAINING, Failed): _rule(_failed, TRAINING, IDLE),
    (FETCHING, Tick): _rule(_work_tick, FETCHING, IDLE),
    (TRAINING, Tick): _rule(_work_tick, TRAINING, IDLE),
}


def _nothing(state: State, _event: Event, _now: float) -> Step:
    return state, ()


def _both(first: Handle, second: Handle) -> Handle:
    def handle(state: State, event: Event, now: float) -> Step:
        state, actions = first(state, event, now)
        state, more = second(state, event, now)
        return state, actions + more

    return handle


def _meaning(kind: type, work: Work, link: Link) -> Handle:
    handlers = [TABLE[at, kind].handle for at in (work, link) if (at, kind) in TABLE]
    return reduce(_both, handlers or [_nothing])


_MEANING = {
    (kind, work, link): _meaning(kind, work, link)
    for kind, work, link in product({kind for _, kind in TABLE}, Work, Link)
}
"""What handles each event in each work and link."""
