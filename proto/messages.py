"""Every message that crosses the wire, as frozen values. Start reading Qfleet here.

Two families: *signed* messages may be read by the broker (births, the coordinator's state, tasks,
receipts, joining, key exchange); *sealed* ones only by the other end (reports, offers, updates).
Arrays travel by their index in the task's layout, never by name. Every field is bounded, so that
decoding any bytes costs a known amount. Durations are seconds, relative to receipt: a box's clock
may be wrong by a year.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from proto.models import Model
from proto.resources import Resources as Resources  # noqa: PLC0414 - named here for all

ID_PATTERN = r"^[a-z0-9-]{1,32}\Z"
Id = Annotated[str, Meta(min_length=1, max_length=32, pattern=ID_PATTERN)]
Text = Annotated[str, Meta(max_length=200)]
Label = Annotated[str, Meta(max_length=100)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Short = Annotated[bytes, Meta(min_length=16, max_length=16)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
KemKey = Annotated[bytes, Meta(min_length=1216, max_length=1216)]
SealedSecret = Annotated[bytes, Meta(min_length=32, max_length=2048)]
Counter = Annotated[int, Meta(ge=0, le=2**40)]
Small = Annotated[int, Meta(ge=0, le=2**31)]

OptimiserName = Literal["adam", "adamw", "sgd", "lbfgs", "cobyla", "spsa", "qn-spsa"]
BACKEND_PATTERN = r"^(numpy|aer|ibm|pennylane:[a-z0-9_.]+)\Z"

MAX_INLINE = 2048
"""Largest encrypted model in bytes that rides in an offer; a larger one is pulled in chunks."""

MAX_UPDATE = 96 * 1024
"""Largest packed update in bytes that fits one publish; a larger one travels in pieces."""

MAX_PACKED = 4 * 2**20
"""Largest packed update in bytes: a million numbers as float32."""

MAX_PIECES = 64

MIN_BUNDLE, MAX_BUNDLE = 2, 8
"""Messages in one frame."""


class Message(
    Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True, gc=False
):
    """What all share: immutable (so in no cycle), positional on the wire, nothing unknown taken."""


class Era(Message, frozen=True, order=True):
    """One unbroken memory of a coordinator. A later era has a higher number."""

    number: Small
    nonce: Annotated[bytes, Meta(min_length=8, max_length=8)]


# --- signed: the broker may read these ------------------------------------------------------------


class KeyRecord(Message, frozen=True, tag=1):
    """The fleet root's word on which key speaks for the coordinator. Serials only rise."""

    fleet: Id
    serial: Small
    key: PublicKey
    expires: Counter
    """Seconds since 1970, by the coordinator's clock."""


class CoordinatorState(Message, frozen=True, tag=2):
    """Who coordinates, retained. `session` counts the coordinator's starts."""

    fleet: Id
    record: Annotated[bytes, Meta(max_length=512)]
    session: Counter
    era: Era
    roster: Small
    """Version of the list of members; it only rises."""
    time: Counter
    online: bool


class Birth(Message, frozen=True, tag=3):
    """A box is here, retained. `kem` is an ephemeral key for one key exchange."""

    fleet: Id
    box: Id
    session: Counter
    kem: KemKey
    era: Era | None
    turn: Counter
    """The highest turn this box has seen in `era`: a coordinator behind it has lost memory."""
    release: Annotated[str, Meta(max_length=32)]


class Gone(Message, frozen=True, tag=4):
    """A box's last will. A hint only: it ends no round."""

    fleet: Id
    box: Id
    session: Counter


class KeyOffer(Message, frozen=True, tag=5):
    """Second step of the key exchange, coordinator to box."""

    box: Id
    birth: Digest
    era: Era
    kem: KemKey
    secret: SealedSecret


class KeyAccept(Message, frozen=True, tag=6):
    """Third step, box to coordinator. `report` is the first frame sealed under the new epoch."""

    box: Id
    offer: Digest
    secret: SealedSecret
    report: Annotated[bytes, Meta(max_length=4096)]


class DataSpec(Message, frozen=True):
    """The rows a task wants: feature columns in order, class names in order, the text's column."""

    columns: Annotated[tuple[Label, ...], Meta(max_length=4096)]
    classes: Annotated[tuple[Label, ...], Meta(min_length=2, max_length=1024)]
    components: Annotated[int, Meta(ge=0, le=64)]
    """Principal components fitted from federated moments; 0 feeds the columns as they are."""
    min_rows: Annotated[int, Meta(ge=1, le=2**20)]
    validation: Annotated[float, Meta(ge=0.0, le=0.5)]
    text: Annotated[str, Meta(max_length=100)] = ""
    """The column that holds a row's text; empty where the task reads none."""
    varied: bool = False
    """Whether a box whose rows are of one class, or the same in a column, is refused."""


class Training(Message, frozen=True):
    """How a box trains and packs: steps, rate, rows a step (0: all), bits and block size.

    In round r the rate is `learning_rate * decay ** (r - 1)`.
    """

    steps: Annotated[int, Meta(ge=1, le=100_000)]
    learning_rate: Annotated[float, Meta(gt=0.0, le=10.0)]
    decay: Annotated[float, Meta(gt=0.0, le=1.0)]
    batch: Annotated[int, Meta(ge=0, le=2**20)]
    bits: Literal[2, 4, 8, 32]
    block: Annotated[int, Meta(ge=1, le=4096)]
    optimiser: OptimiserName = "adam"
    keep: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    """Share of an update's numbers that travel, the largest; 1 sends all."""
    feedback: bool = False
    """Whether a box adds to its next update what packing the last one lost."""
    warmup: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """First steps of a round, in which the rate rises to its full height; adamw alone."""
    weight_decay: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """Share of each number that adamw takes away per unit of rate."""
    personal_head: bool = False
    """Each box keeps a classical head of its own; only the circuit's angles leave it."""


class Execution(Message, frozen=True):
    """Where a circuit's values come from; each box's owner consents to it, or not."""

    backend: Annotated[str, Meta(max_length=64, pattern=BACKEND_PATTERN)] = "numpy"
    shots: Annotated[int, Meta(ge=0, le=2**20)] = 0
    """Measurements of each sample; 0 asks a simulator for exact values."""
    noise: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]*\Z")] = ""
    """A fake device of Qiskit's ("FakeManilaV2"), or a calibration saved on the box; aer only."""
    shot_budget: Counter = 0
    """Shots a box may spend on this job in all; 0 sets no bound."""
    simulated_rounds: Small = 0
    """So many rounds of training come first on the box's own simulator, exactly, and cost none."""


class Task(Message, frozen=True, tag=7):
    """One job, retained. Offers name it by the first half of its hash."""

    fleet: Id
    job: Id
    serial: Small
    model: Model
    data: DataSpec
    training: Training
    execution: Execution = Execution()


class Receipt(Message, frozen=True, tag=8):
    """What became of a round, retained: the model it gave and how many updates are in it."""

    fleet: Id
    job: Id
    round: Small
    turn: Counter
    model: Digest
    included: Small


class JoinRequest(Message, frozen=True, tag=9):
    """Sealed to nobody, proves the token: signed by the box and by the token's own key."""

    token: Id
    box: Id
    key: PublicKey
    kem: KemKey
    proof: Annotated[bytes, Meta(min_length=64, max_length=64)]


class JoinAnswer(Message, frozen=True, tag=10):
    """Signed by the coordinator; `admission` is an `Admission` sealed to the request's key."""

    request: Digest
    record: Annotated[bytes, Meta(max_length=512)]
    admission: Annotated[bytes, Meta(max_length=16384)]
    refusal: Text


class Admission(Message, frozen=True, tag=11):
    """What a new box needs to come back: its broker account and the broker's certificate."""

    fleet: Id
    box: Id
    username: Label
    password: Label
    ca: Annotated[str, Meta(max_length=8192)]

    def __repr__(self) -> str:
        return f"Admission({self.box} to {self.fleet})"


class Revoked(Message, frozen=True, tag=12):
    """To a box that no longer belongs: since which version of the roster."""

    fleet: Id
    box: Id
    roster: Small


# --- sealed: only the other end may read these ----------------------------------------------------


class Report(Message, frozen=True, tag=20):
    """Answers an offer: will this box train, and why not. Turn 0 after a birth, and with news."""

    turn: Counter
    accepted: bool
    reason: Text
    resources: Resources


class Enlistment(Message, frozen=True, tag=21):
    """Answer to a task: how many training rows this box brings, or 0 and why not."""

    job: Id
    task: Short
    rows: Annotated[int, Meta(ge=0, le=2**24)]
    reason: Text


class Metrics(Message, frozen=True):
    """Figures of the *received* model on this box's rows (losses in nats), and the work done."""

    first_loss: float
    last_loss: float
    validation_loss: float
    validation_accuracy: float
    validation_rows: Small
    steps: Small
    evaluations: Counter = 0
    gradients: Counter = 0
    shots: Counter = 0
    rank: Annotated[int, Meta(ge=0, le=64)] = 0
    """Of an adapter trained by a small box, where it is not the task's; else 0."""
    teacher_loss: float | None = None
    """Of the teacher, on the same validation rows; None without a teacher."""

    def __post_init__(self) -> None:
        # 0 times a number is 0, unless it is infinite or none. Every update comes by here.
        zero = 0.0 * self.first_loss * self.last_loss * self.validation_loss
        if zero * self.validation_accuracy * (self.teacher_loss or 0.0) != 0.0:
            raise ValueError("a metric is not a finite number")


class Update(Message, frozen=True, tag=22):
    """A box's part of a round: packed moments, a packed delta, or only metrics."""

    id: Short
    turn: Counter
    model: Digest
    """Hash of the global model this update starts from: never applied to another."""
    rows: Annotated[int, Meta(ge=0, le=2**20)]
    payload: Annotated[bytes, Meta(max_length=MAX_PACKED)]
    metrics: Metrics | None


class Piece(Message, frozen=True, tag=27):
    """Part of an encoded `Update` that is too large for one publish. Acked by the whole alone."""

    id: Short
    """The update's."""
    turn: Counter
    index: Annotated[int, Meta(ge=0, lt=MAX_PIECES)]
    count: Annotated[int, Meta(ge=2, le=MAX_PIECES)]
    data: Annotated[bytes, Meta(min_length=1, max_length=MAX_UPDATE)]


class Pull(Message, frozen=True, tag=23):
    """Ask for a blob's map, or for the chunks whose bits are set."""

    address: Short
    want: Annotated[bytes, Meta(max_length=8192)]
    """Empty: the map. Else one bit a chunk, lowest bit first."""


class BlobRef(Message, frozen=True):
    """Where an encrypted blob is, and the full hash its plaintext must have."""

    digest: Digest
    address: Short
    size: Annotated[int, Meta(ge=0, le=2**30)]


class Offer(Message, frozen=True, tag=24):
    """Please take part in this turn. `kind`: 0 moments, 1 train, 2 evaluate."""

    job: Id
    round: Small
    turn: Counter
    """Counts all rounds of a coordinator in this era, so it names job and round at once."""
    kind: Annotated[int, Meta(ge=0, le=2)]
    task: Short
    key: Digest
    """The job key, 32 bytes: opens the job's blobs."""
    model: BlobRef | None
    features: BlobRef | None
    inline: Annotated[bytes, Meta(max_length=MAX_INLINE)]
    """The encrypted model itself when it is small, else empty."""
    steps: Annotated[int, Meta(ge=0, le=100_000)]
    seconds: Annotated[int, Meta(ge=1, le=30 * 86400)]
    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    counted: Counter = 0
    """The last turn whose model holds an update of this box; 0: none does."""

    def __repr__(self) -> str:
        return f"Offer(turn {self.turn}: {KIND_NAMES[self.kind]} round {self.round} of {self.job})"


STORED, DUPLICATE, REFUSED = 0, 1, 2


class Ack(Message, frozen=True, tag=25):
    """What became of messages: stored, already known, or refused with a reason."""

    items: Annotated[tuple[tuple[Short, int, Text], ...], Meta(max_length=64)]


UPDATES = frozenset((Update, Piece))
"""What a frame holds at most one of, and then is signed."""
Letter = Report | Enlistment | Update | Piece | Pull | Offer | Ack


class Bundle(Message, frozen=True, tag=26):
    """Several messages in one frame, as if each had come in one of its own, in this order."""

    items: Annotated[tuple[Letter, ...], Meta(min_length=MIN_BUNDLE, max_length=MAX_BUNDLE)]

    def __post_init__(self) -> None:
        # Every frame comes by here, those of our own making, too, that nobody decodes.
        if not MIN_BUNDLE <= len(self.items) <= MAX_BUNDLE:
            raise ValueError(f"a bundle of {len(self.items)} messages")
        updates = 0
        for item in self.items:
            updates += type(item) in UPDATES
        # A frame is the replay mark of the one update in it.
        if updates > 1:
            raise ValueError("a bundle holds at most one update")


Signed = (
    KeyRecord
    | CoordinatorState
    | Birth
    | Gone
    | KeyOffer
    | KeyAccept
    | Task
    | Receipt
    | JoinRequest
    | JoinAnswer
    | Admission
    | Revoked
)
Sealed = Letter | Bundle
MOMENTS, TRAIN, EVALUATE = 0, 1, 2
KIND_NAMES = ("moments", "train", "evaluate")
