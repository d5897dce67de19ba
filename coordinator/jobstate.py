"""What a job is, what may happen to it, and what its shell may be told to do: values only."""

from bisect import bisect_left
from enum import Enum
from operator import attrgetter

from msgspec import Struct

from coordinator.selection.advice import Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.constants import Constants
from coordinator.selection.edges import Edges
from coordinator.selection.forest import Student
from coordinator.selection.plan import Plan
from coordinator.selection.regulators import Regulation
from coordinator.selection.request import Budget, Pace, Request
from proto.messages import KIND_NAMES, MOMENTS, TRAIN

FEDBUFF = "fedbuff"
"""Asynchronous rounds by lots (Nguyen et al. 2022), among the policies that are compared."""


class Phase(Enum):
    __hash__ = object.__hash__  # members are one of a kind; Enum's own is slow
    WAITING = "waiting"
    COLLECTING = "collecting"
    FOLDING = "folding"
    PUBLISHING = "publishing"
    FINISHED = "finished"
    STOPPED = "stopped"


class Rules(Struct, frozen=True, kw_only=True):
    """How a job's rounds go; fixed when the job starts. Times in seconds."""

    rounds: int
    cohort: int
    """Boxes asked in a training round; 0 asks everyone."""
    quorum: int
    """Updates below which a round does not count."""
    deadline: float
    gather: float
    """How long to wait for a full cohort once there is a quorum."""
    scorer: str
    seed: int
    patience: int = 0
    min_gain: float = 0.0
    target: float = 0.0
    evaluate: bool = True
    aggregation: str = "mean"
    """"mean", "fedadam", "trimmed-mean" or "median"."""
    server_rate: float = 1.0
    """How far along the boxes' common change the model goes; FedAdam's rate."""
    steps: int = 0
    """A training round's own steps, from the task."""
    regulation: Regulation = Regulation()
    """What makes them differ from box to box."""
    budget: Budget = Budget()
    constants: Constants = Constants()
    """What the selection methods leave open."""
    weights: Student | None = None
    """Of the scorer `linear`, as they were when the job was handed in."""
    gap: float = 0.0
    """End when the fleet's loss is less than this above its teacher's; 0 never does."""
    plateau: float = 0.0
    """End when the boxes' mean distance from the fleet's loss changes by less; 0 never does."""
    objective: str = ""
    """The owner's sentence; the agent alone reads it."""
    adapter: str = ""
    """Of the scorer `agent`: its file; the one in the package where it is empty."""
    buffer: int = 0
    """Updates that a step of an asynchronous job's model takes; 0: rounds are synchronous."""
    concurrency: int = 0
    """Boxes of an asynchronous job that train at once."""
    max_staleness: int = 0
    """Steps the model may have taken since a box was given it, before its work is given up."""

    @property
    def policy(self) -> str:
        """What this way to choose is called where several are compared."""
        return FEDBUFF if self.buffer and self.scorer == "random" else self.scorer


class Member(Struct, frozen=True):
    """One box of the cohort."""

    box: str
    steps: int = 0
    """What it is given to do; 0 is the task's own."""
    turn: int = 0
    """Of an asynchronous job: the turn and the round whose model it was given, ..."""
    round: int = 0
    asked: float = 0.0
    """... when, and until when its place is kept."""
    due: float = 0.0
    silent: bool = True
    """It has not answered its offer yet."""


OFFERED, ACCEPTED, DECLINED, UPDATED = "oadu"
_OPEN = OFFERED + ACCEPTED
_box = attrgetter("box")


class JobState(Struct, frozen=True, kw_only=True):
    job: str
    rules: Rules
    phase: Phase = Phase.WAITING
    kind: int = TRAIN
    round: int = 1
    turn: int = 0
    members: tuple[Member, ...] = ()
    """In order of their ids; of an asynchronous job those at work, whichever turn they are on."""
    answers: str = ""
    """What the members of a synchronous round answered, a letter each, in their order. One string,
    so that a round of ten thousand takes each answer in as much time as a round of ten."""
    buffer: tuple[str, ...] = ()
    """Boxes whose update the next step of an asynchronous job's model will hold, ..."""
    asked: tuple[str, ...] = ()
    """... and those asked since the last one, in the order of their ids."""
    due: float = 0.0
    nudge: float = 0.0
    """Of an asynchronous job 0 where there is nothing to wait for."""
    look: float = 0.0
    """When an asynchronous job looks again for boxes to ask, though nothing was heard."""
    not_before: float = 0.0
    ready_since: float = 0.0
    misses: int = 0
    best: float | None = None
    accuracy: float | None = None
    stale: int = 0
    losses: tuple[float, ...] = ()
    """Validation losses of the last rounds, the newest last."""
    edges: Edges | None = None
    """What words in prompts mean; of the fleet as it was when the agent was first asked."""
    gap: float | None = None
    """The fleet's loss less its teacher's, on the same rows."""
    distance: float | None = None
    """The boxes' mean distance from the fleet's loss ..."""
    drift: float | None = None
    """... and by how much the last round changed it."""
    reason: str = ""
    spent: tuple[str, ...] = ()
    """Boxes whose budget is used up, as last told; they keep the job waiting."""
    stop_asked: bool = False

    @property
    def buffered(self) -> bool:
        """Whether this is asynchronous training."""
        return self.rules.buffer > 0 and self.kind == TRAIN

    @property
    def hungry(self) -> bool:
        """Whether a place of an asynchronous job is free."""
        collecting = self.buffered and self.phase is Phase.COLLECTING
        return collecting and len(self.members) < self.rules.concurrency

    @property
    def pending(self) -> tuple[str, ...]:
        """Boxes that may still deliver."""
        if self.buffered:
            return tuple(m.box for m in self.members)
        answered = zip(self.members, self.answers, strict=True)
        return tuple(m.box for m, answer in answered if answer in _OPEN)

    def waits_for(self, at: int) -> bool:
        """Whether the member at this place of a synchronous round may still deliver."""
        return self.answers[at] in _OPEN

    def place(self, box: str) -> int | None:
        """Where a box stands among the members; None for one that was not asked."""
        at = bisect_left(self.members, box, key=_box)
        return at if at < len(self.members) and self.members[at].box == box else None

    @property
    def updated(self) -> tuple[str, ...]:
        """Boxes whose update is here for the round."""
        if self.buffered:
            return self.buffer
        answered = zip(self.members, self.answers, strict=True)
        return tuple([m.box for m, answer in answered if answer == UPDATED])

    @property
    def delivered(self) -> int:
        """How many boxes' updates are here for the round."""
        return len(self.buffer) if self.buffered else self.answers.count(UPDATED)

    def member(self, box: str, turn: int) -> Member | None:
        """A box that is at work for this turn; None where it is not."""
        at = self.place(box)
        found = None if at is None else self.members[at]
        return found if found and turn == (found.turn if self.buffered else self.turn) else None

    @property
    def turns(self) -> frozenset[int]:
        """The turns that boxes may deliver for."""
        return frozenset(m.turn for m in self.members if m.turn) | {self.turn}

    @property
    def title(self) -> str:
        """How people see the current round."""
        return f"round {self.round}" if self.kind == TRAIN else f"the {KIND_NAMES[self.kind]} round"


def request_of(state: JobState, event: "Consider") -> Request:
    """What is asked of the planner for the next round. Only training rounds choose and spend."""
    rules = state.rules
    if state.kind != TRAIN:
        return Request("stalest", 0, rules.seed, event.turn, deadline=rules.deadline)
    return Request(
        scorer=rules.scorer,
        size=places(state, event.bytes_each) if state.buffered else rules.cohort,
        seed=rules.seed,
        turn=event.turn,
        pace=Pace(rules.steps, state.round, rules.regulation),
        deadline=rules.deadline,
        bytes_each=event.bytes_each,
        budget=rules.budget,
        constants=rules.constants,
        weights=rules.weights,
        advice=event.advice,
        served=rules.buffer,
        busy=len(state.members) if state.buffered else 0,
        quorum=0 if state.buffered else rules.quorum,
    )


def places(state: JobState, bytes_each: int) -> int:
    """How many boxes an asynchronous job may ask now; its budget of bytes is that of a step."""
    rules = state.rules
    free = rules.concurrency - len(state.members)
    if rules.budget.bytes and bytes_each:
        free = min(free, rules.budget.bytes // bytes_each - len(state.asked))
    return max(0, free)


def new_job(job: str, rules: Rules, *, moments: bool) -> JobState:
    """A job before its first round; `moments` when features must be fitted first."""
    if moments:
        return JobState(job=job, rules=rules, kind=MOMENTS, round=0)
    return JobState(job=job, rules=rules)


# --- what may happen ------------------------------------------------------------------------------


class Consider(Struct, frozen=True):
    """These boxes could take part; `turn` is the number a round opened now would get."""

    candidates: tuple[Candidate, ...]
    turn: int
    bytes_each: int = 0
    """Traffic one box will cause, as far as is known."""
    advice: Advice | None = None
    """What a model answered; None leaves the round to the scorer."""


class Answered(Struct, frozen=True):
    box: str
    turn: int
    accepted: bool


class UpdateStored(Struct, frozen=True):
    """A valid update of this turn is in the store."""

    box: str
    turn: int


class BoxReady(Struct, frozen=True):
    """A box has exchanged keys (again)."""

    box: str


class Departed(Struct, frozen=True):
    """A box was revoked."""

    box: str


class Folded(Struct, frozen=True):
    """The round's result is in the store; figures are the boxes' weighted means."""

    validation_loss: float | None
    validation_accuracy: float | None
    teacher_loss: float | None = None
    distance: float | None = None
    """The boxes' mean distance from the fleet's validation loss."""


class FoldFailed(Struct, frozen=True):
    reason: str


class Published(Struct, frozen=True):
    """Everyone who looks can see the round's result; a turn opened now would get this number."""

    turn: int = 0


class StopAsked(Struct, frozen=True):
    pass


class ResumeAsked(Struct, frozen=True):
    pass


class Restarted(Struct, frozen=True):
    """The coordinator came back and read this state from its store."""


class EraBegan(Struct, frozen=True):
    """The coordinator found itself behind its boxes; open rounds are void."""


class Tick(Struct, frozen=True):
    """Time passed."""


Event = (
    Consider
    | Answered
    | UpdateStored
    | BoxReady
    | Departed
    | Folded
    | FoldFailed
    | Published
    | StopAsked
    | ResumeAsked
    | Restarted
    | EraBegan
    | Tick
)


# --- what the shell is told to do -----------------------------------------------------------------


class Open(Struct, frozen=True):
    """Write the round and its plan down."""

    plan: Plan


class Ask(Struct, frozen=True):
    """Write down who else is asked in the open turn."""

    plan: Plan


class OfferTo(Struct, frozen=True):
    box: str
    seconds: float
    steps: int = 0
    """0 is the task's own."""


class Fold(Struct, frozen=True):
    """Add up the round's stored updates and store what comes of it."""


class CloseMissed(Struct, frozen=True):
    """The round counts for nothing; its updates are dropped."""


class Publish(Struct, frozen=True):
    """Announce the round's result."""


class Say(Struct, frozen=True):
    """A line for the person who reads the log."""

    text: str


Action = Open | Ask | OfferTo | Fold | CloseMissed | Publish | Say
