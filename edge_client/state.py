"""What a box is, what may happen to it, and what its shell may be told to do: values only."""

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from proto.messages import Era, Offer


class Link(Enum):
    __hash__ = object.__hash__  # members are one of a kind; Enum's own is slow
    OFFLINE = "offline"
    ANNOUNCED = "announced"
    SECURED = "secured"


class Work(Enum):
    __hash__ = object.__hash__
    IDLE = "idle"
    FETCHING = "fetching"
    TRAINING = "training"


Region = Link | Work


class Value(Struct, frozen=True, gc=False):
    """Part of no cycle, so that the garbage collector need not look at it."""


# --- what may happen ------------------------------------------------------------------------------


class LinkUp(Value, frozen=True):
    """The broker accepted us."""


class LinkDown(Value, frozen=True):
    """The broker is gone."""


class CoordinatorSeen(Value, frozen=True):
    """The coordinator's signed state arrived."""

    session: int
    era: Era
    online: bool


class Secured(Value, frozen=True):
    """A key exchange is done; the coordinator has proven that it holds the epoch's keys."""

    era: Era


class TaskSeen(Value, frozen=True):
    """A signed task arrived. `refusal` is what the local policy has against it, or empty."""

    job: str
    task: bytes
    refusal: str


class Inspected(Value, frozen=True):
    """The box's rows were checked against a task: how many it can train on, or why none."""

    job: str
    task: bytes
    rows: int
    reason: str


class OfferSeen(Value, frozen=True):
    """An offer arrived. `objection` is what the local policy has against it, or empty."""

    offer: Offer
    objection: str = ""


class Fetched(Value, frozen=True):
    """The offer's model and features are here and proven."""

    turn: int


class Trained(Value, frozen=True):
    """An update is in the outbox, safe on disk; its packed size in bytes."""

    turn: int
    id: bytes
    size: int = 0


class Failed(Value, frozen=True):
    turn: int
    reason: str


class Acked(Value, frozen=True):
    id: bytes
    code: int
    text: str


class Tick(Value, frozen=True):
    """Time passed."""


Event = (
    LinkUp
    | LinkDown
    | CoordinatorSeen
    | Secured
    | TaskSeen
    | Inspected
    | OfferSeen
    | Fetched
    | Trained
    | Failed
    | Acked
    | Tick
)


# --- what the shell is told to do -----------------------------------------------------------------


class GiveBirth(Value, frozen=True):
    """Publish a birth with a new ephemeral key."""


class Inspect(Value, frozen=True):
    job: str
    task: bytes


class Enlist(Value, frozen=True):
    job: str
    task: bytes
    rows: int
    reason: str


class Answer(Value, frozen=True):
    """Report on an offer: taken, or not and why."""

    turn: int
    accepted: bool
    reason: str


class Fetch(Value, frozen=True):
    offer: Offer


class Train(Value, frozen=True):
    offer: Offer


class Cancel(Value, frozen=True):
    turn: int


class Send(Value, frozen=True):
    """Seal the spooled update under the current epoch and publish it."""

    id: bytes


class Forget(Value, frozen=True):
    """Take an update out of the outbox."""

    id: bytes


class Remember(Value, frozen=True):
    """Write down, before anything else happens, what must never be taken back."""

    era: Era
    turns: Mapping[str, int]


class Say(Value, frozen=True):
    """A line for the person who reads the log."""

    text: str


Action = (
    GiveBirth | Inspect | Enlist | Answer | Fetch | Train | Cancel | Send | Forget | Remember | Say
)


# --- the state ------------------------------------------------------------------------------------


class Waiting(Value, frozen=True):
    """An update in the outbox: when to send it again, and how often it was sent."""

    id: bytes
    turn: int
    again: float
    tries: int = 0
    slack: float = 0.0
    """Seconds a large one may take on its way, added to each wait."""


class Known(Value, frozen=True):
    """A task this box has inspected."""

    task: bytes
    rows: int
    reason: str


class State(Value, frozen=True):
    link: Link = Link.OFFLINE
    work: Work = Work.IDLE
    coordinator: tuple[int, Era] | None = None
    era: Era | None = None
    turns: Mapping[str, int] = {}
    """Highest turn taken of each job in this era; lower ones are refused."""
    jobs: Mapping[str, Known] = {}
    offer: Offer | None = None
    due: float = 0.0
    outbox: tuple[Waiting, ...] = ()
    again: float = 0.0
    tries: int = 0

    @property
    def highest(self) -> int:
        return max(self.turns.values(), default=0)
