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


# --- what may happen ------------------------------------------------------------------------------


class LinkUp(Struct, frozen=True):
    """The broker accepted us."""


class LinkDown(Struct, frozen=True):
    """The broker is gone."""


class CoordinatorSeen(Struct, frozen=True):
    """The coordinator's signed state arrived."""

    session: int
    era: Era
    online: bool


class Secured(Struct, frozen=True):
    """A key exchange is done; the coordinator has proven that it holds the epoch's keys."""

    era: Era


class TaskSeen(Struct, frozen=True):
    """A signed task arrived. `refusal` is what the local policy has against it, or empty."""

    job: str
    task: bytes
    refusal: str


class Inspected(Struct, frozen=True):
    """The box's rows were checked against a task: how many it can train on, or why none."""

    job: str
    task: bytes
    rows: int
    reason: str


class OfferSeen(Struct, frozen=True):
    """An offer arrived. `objection` is what the local policy has against it, or empty."""

    offer: Offer
    objection: str = ""


class Fetched(Struct, frozen=True):
    """The offer's model and features are here and proven."""

    turn: int


class Trained(Struct, frozen=True):
    """An update is in the outbox, safe on disk; its packed size in bytes."""

    turn: int
    id: bytes
    size: int = 0


class Failed(Struct, frozen=True):
    turn: int
    reason: str


class Acked(Struct, frozen=True):
    id: bytes
    code: int
    text: str


class Tick(Struct, frozen=True):
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


class GiveBirth(Struct, frozen=True):
    """Publish a birth with a new ephemeral key."""


class Inspect(Struct, frozen=True):
    job: str
    task: bytes


class Enlist(Struct, frozen=True):
    job: str
    task: bytes
    rows: int
    reason: str


class Answer(Struct, frozen=True):
    """Report on an offer: taken, or not and why."""

    turn: int
    accepted: bool
    reason: str


class Fetch(Struct, frozen=True):
    offer: Offer


class Train(Struct, frozen=True):
    offer: Offer


class Cancel(Struct, frozen=True):
    turn: int


class Send(Struct, frozen=True):
    """Seal the spooled update under the current epoch and publish it."""

    id: bytes


class Forget(Struct, frozen=True):
    """Take an update out of the outbox."""

    id: bytes


class Remember(Struct, frozen=True):
    """Write down, before anything else happens, what must never be taken back."""

    era: Era
    turns: Mapping[str, int]


class Say(Struct, frozen=True):
    """A line for the person who reads the log."""

    text: str


Action = (
    GiveBirth | Inspect | Enlist | Answer | Fetch | Train | Cancel | Send | Forget | Remember | Say
)


# --- the state ------------------------------------------------------------------------------------


class Waiting(Struct, frozen=True):
    """An update in the outbox: when to send it again, and how often it was sent."""

    id: bytes
    turn: int
    again: float
    tries: int = 0
    slack: float = 0.0
    """Seconds a large one may take on its way, added to each wait."""


class Known(Struct, frozen=True):
    """A task this box has inspected."""

    task: bytes
    rows: int
    reason: str


class State(Struct, frozen=True):
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
