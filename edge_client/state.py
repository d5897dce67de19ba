"""What a box is, what may happen to it, and what its shell may be told to do: values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from proto.messages import Era, Offer


class Link(Enum):
    OFFLINE = "offline"
    ANNOUNCED = "announced"
    SECURED = "secured"


class Work(Enum):
    IDLE = "idle"
    FETCHING = "fetching"
    TRAINING = "training"


Region = Link | Work


# --- what may happen ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The broker accepted us."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The broker is gone."""


@dataclass(frozen=True, slots=True)
class CoordinatorSeen:
    """The coordinator's signed state arrived."""

    session: int
    era: Era
    online: bool


@dataclass(frozen=True, slots=True)
class Secured:
    """A key exchange is done; the coordinator has proven that it holds the epoch's keys."""

    era: Era


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """A signed task arrived. `refusal` is what the local policy has against it, or empty."""

    job: str
    task: bytes
    refusal: str


@dataclass(frozen=True, slots=True)
class Inspected:
    """The box's rows were checked against a task: how many it can train on, or why none."""

    job: str
    task: bytes
    rows: int
    reason: str


@dataclass(frozen=True, slots=True)
class OfferSeen:
    """An offer arrived. `objection` is what the local policy has against it, or empty."""

    offer: Offer
    objection: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The offer's model and features are here and proven."""

    turn: int


@dataclass(frozen=True, slots=True)
class Trained:
    """An update is in the outbox, safe on disk."""

    turn: int
    id: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    turn: int
    reason: str


@dataclass(frozen=True, slots=True)
class Acked:
    id: bytes
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Tick:
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


@dataclass(frozen=True, slots=True)
class GiveBirth:
    """Publish a birth with a new ephemeral key."""


@dataclass(frozen=True, slots=True)
class Inspect:
    job: str
    task: bytes


@dataclass(frozen=True, slots=True)
class Enlist:
    job: str
    task: bytes
    rows: int
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Report on an offer: taken, or not and why."""

    turn: int
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Fetch:
    offer: Offer


@dataclass(frozen=True, slots=True)
class Train:
    offer: Offer


@dataclass(frozen=True, slots=True)
class Cancel:
    turn: int


@dataclass(frozen=True, slots=True)
class Send:
    """Seal the spooled update under the current epoch and publish it."""

    id: bytes


@dataclass(frozen=True, slots=True)
class Forget:
    """Take an update out of the outbox."""

    id: bytes


@dataclass(frozen=True, slots=True)
class Remember:
    """Write down, before anything else happens, what must never be taken back."""

    era: Era
    turns: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Say:
    """A line for the person who reads the log."""

    text: str


Action = (
    GiveBirth | Inspect | Enlist | Answer | Fetch | Train | Cancel | Send | Forget | Remember | Say
)


# --- the state ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """An update in the outbox: when to send it again, and how often it was sent."""

    id: bytes
    turn: int
    again: float
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """A task this box has inspected."""

    task: bytes
    rows: int
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    link: Link = Link.OFFLINE
    work: Work = Work.IDLE
    coordinator: tuple[int, Era] | None = None
    era: Era | None = None
    turns: Mapping[str, int] = field(default_factory=dict)
    """Highest turn taken of each job in this era; lower ones are refused."""
    jobs: Mapping[str, Known] = field(default_factory=dict)
    offer: Offer | None = None
    due: float = 0.0
    outbox: tuple[Waiting, ...] = ()
    again: float = 0.0
    tries: int = 0

    @property
    def highest(self) -> int:
        return max(self.turns.values(), default=0)
