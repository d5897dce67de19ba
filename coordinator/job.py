"""One job in a running coordinator: what its offers name, and what it accepts in return."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from coordinator import folding
from coordinator.history import History
from coordinator.jobstate import JobState, Member, Phase
from coordinator.selection.plan import Plan
from coordinator.store import Row
from coordinator.stored import state_of, task_in
from proto import blobs
from proto.errors import RemoteError
from proto.identity import task_id
from proto.messages import (
    MAX_INLINE,
    MOMENTS,
    TRAIN,
    BlobRef,
    Offer,
    Pull,
    Receipt,
    Task,
    Update,
)

PULLS = 20
"""Pulls a box may make in a turn, beside four for each chunk."""
PARTS = 8
"""Chunks published for one pull."""

# By names of their own: an enum looks its members up anew, and each update asks.
COLLECTING, FOLDING = Phase.COLLECTING, Phase.FOLDING


@dataclass
class Job:
    """A job's state in its table, and what hangs on it."""

    state: JobState
    task: Task
    task_id: bytes
    key: bytes = field(repr=False)
    rows: dict[str, int] = field(default_factory=dict)
    """Training rows of each box that enlisted: no update may claim more."""
    history: History = field(default_factory=History, repr=False)
    dirty: bool = True
    """Something changed since boxes were last considered."""
    considered: float = 0.0
    again: float = 0.0
    """Until then the job's agent is thinking."""
    _sealed: dict[str, tuple[BlobRef, bytes]] = field(default_factory=dict, repr=False)
    """Reference and ciphertext of the "model" and the "features"."""
    _given: dict[int, tuple[BlobRef, bytes]] = field(default_factory=dict, repr=False)
    """Of an asynchronous job the models that boxes may be at work on, by turn."""
    _pulls: Counter[str] = field(default_factory=Counter, repr=False)
    _offers: dict[tuple[int, int, int, int], Offer] = field(default_factory=dict, repr=False)
    """Of the open turn, by turn, seconds left, steps and the box's last counted turn."""
    _places: tuple[tuple[Member, ...], dict[str, int]] = field(default=((), {}), repr=False)
    _checks: folding.Checks = field(init=False, repr=False)
    buffered: bool = field(init=False)
    """As the state has it, where each message asks."""

    def __post_init__(self) -> None:
        self._checks = folding.Checks(self.task, self.state.rules.aggregation)
        self.buffered = self.state.buffered

    def become(self, state: JobState) -> None:
        """Go on in another state."""
        if state.kind != self.state.kind:
            self.buffered = state.buffered
        self.state = state

    def encrypt(self, kind: str, data: bytes) -> None:
        """Make the "model" or "features" blob that the next offers name."""
        self._sealed[kind] = blobs.encrypt(data, self.key)
        self._offers.clear()

    def encrypt_of(self, turn: int, data: bytes) -> None:
        """Make the blob of the model that boxes asked in this turn were given."""
        self._given[turn] = blobs.encrypt(data, self.key)

    def speaks_of(self, turn: int) -> bool:
        """Whether boxes may speak of this turn."""
        return turn in self._given if self.buffered else turn == self.state.turn

    @property
    def model(self) -> BlobRef | None:
        return self._ref("model")

    def _ref(self, kind: str) -> BlobRef | None:
        return self._sealed[kind][0] if kind in self._sealed else None

    def open_round(self) -> None:
        self._pulls.clear()
        self._offers.clear()
        if self.buffered:
            at_work = self.state.turns
            kept = {turn: sealed for turn, sealed in self._given.items() if turn in at_work}
            self._given = {**kept, self.state.turn: self._sealed["model"]}

    def offer(self, box: str, seconds: float, steps: int = 0, counted: int = 0) -> Offer:
        """The offer of its turn to one box, with so many seconds left.

        0 steps are the task's own; `counted` is the last turn for which this box sent an update
        that is in the model.
        """
        state, left = self.state, int(seconds) if seconds >= 1 else 1
        steps = (steps or self.task.training.steps) if state.kind == TRAIN else 0
        if self.buffered:
            at = state.place(box)
            assert at is not None, "offers go to boxes at work"
            member = state.members[at]
            return self._offer(member.turn, member.round, left, steps, counted)
        # All boxes of a synchronous round are told much the same.
        which = state.turn, left, steps, counted
        offer = self._offers.get(which)
        if offer is None:
            offer = self._offer(state.turn, state.round, left, steps, counted)
            self._offers[which] = offer
        return offer

    def _offer(self, turn: int, round_: int, left: int, steps: int, counted: int) -> Offer:
        state, learning = self.state, self.state.kind != MOMENTS
        model, inline = None, b""
        if learning:
            model, inline = self._given[turn] if self.buffered else self._sealed["model"]
        return Offer(
            job=state.job,
            round=round_,
            turn=turn,
            kind=state.kind,
            task=self.task_id,
            key=self.key,
            model=model,
            features=self._ref("features") if learning else None,
            inline=inline if len(inline) <= MAX_INLINE else b"",
            steps=steps,
            seconds=left,
            seed=state.rules.seed,
            counted=counted,
        )

    def receipt(self) -> Receipt | None:
        """What became of the round that was folded; None before there is a model."""
        state = self.state
        if self.model is None:
            return None
        return Receipt(
            fleet=self.task.fleet,
            job=state.job,
            round=state.round,
            turn=state.turn,
            model=self.model.digest,
            included=state.delivered,
        )

    @property
    def _offered(self) -> Iterator[tuple[BlobRef, bytes]]:
        return chain(self._sealed.values(), self._given.values())

    def holds(self, address: bytes) -> bool:
        return any(ref.address == address for ref, _ in self._offered)

    def parts(self, box: str, pull: Pull) -> list[tuple[str, bytes]]:
        """Names and bytes of what a pull asks for. Raises RemoteError when it asks too often."""
        sealed = next(s for ref, s in self._offered if ref.address == pull.address)
        chunks = blobs.chunks(sealed)
        self._pulls[box] += 1
        if self._pulls[box] > PULLS + 4 * len(chunks):
            raise RemoteError("pulls the same blob again and again")
        if not pull.want:
            return [("m", blobs.chunk_map(sealed))]
        return [(str(i), chunks[i]) for i in blobs.wanted(pull.want, len(chunks))[:PARTS]]

    def awaits(self, box: str, turn: int) -> bool:
        """Whether an update of this box for this turn may still be taken."""
        state = self.state
        if self.buffered:
            return state.member(box, turn) is not None
        at = self._place(box)
        return state.phase is COLLECTING and at is not None and state.waits_for(at)

    def _place(self, box: str) -> int | None:
        """As the state says, looked up once for all members of a synchronous round."""
        members = self.state.members
        if self._places[0] is not members:
            self._places = members, {member.box: at for at, member in enumerate(members)}
        return self._places[1].get(box)

    def check(self, box: str, update: Update) -> None:
        """Raise RemoteError unless this box was asked for this update, and it can be folded."""
        state, turn, buffered = self.state, update.turn, self.buffered
        if state.phase is not COLLECTING and not (buffered and state.phase is FOLDING):
            raise RemoteError(f"turn {turn} is over")
        if buffered:
            # The last turn's buffer may be full already: an update that comes with it is counted.
            if state.member(box, turn) is None:
                raise RemoteError(f"not, or no longer, at work for turn {turn}")
            given = self._given[turn]
        elif self._place(box) is None:
            raise RemoteError(f"not asked to take part in turn {turn}")
        else:
            given = self._sealed["model"]
        if state.kind != MOMENTS and update.model != given[0].digest:
            raise RemoteError("made from another model than this turn's")
        if not 1 <= update.rows <= self.rows.get(box, 0):
            raise RemoteError(f"claims {update.rows} rows; enlisted with {self.rows.get(box, 0)}")
        self._checks.check(state.kind, update)


def job_of(row: Row, enlisted: list[Row]) -> Job:
    """A job as the store has it."""
    rows = {e.box: e.rows for e in enlisted}
    return Job(state_of(row), task_in(row), task_id(row.task), row.key, rows)


def model_row(job: Job, kind: str, data: bytes) -> dict[str, object]:
    """A model, feature map or server state as the store keeps it."""
    digest = hashlib.sha256(data).digest()
    turn = job.state.turn
    return {"digest": digest, "job": job.state.job, "turn": turn, "kind": kind, "data": data}


def late(state: JobState, turn: int, round_: int) -> str:
    """Why an update for a turn, that of this round, is refused."""
    steps, most = state.round - round_, state.rules.max_staleness
    if state.buffered and steps > most:
        return f"the model is {steps} steps past the one it was made from; at most {most} are taken"
    return f"turn {turn} is over"


def told(state: JobState, result: folding.Result) -> str:
    """A round's end in a line."""
    f = result.figures
    accuracy, loss = f.validation_accuracy, f.validation_loss
    stale = f", {f.staleness:.1f} steps stale" if f.staleness else ""
    figures = f", validation accuracy {accuracy:.3f}, loss {loss:.4f}" if accuracy else ""
    return f"{state.title} done: {result.included} updates{stale}, {f.rows} rows{figures}"


def asks(state: JobState, plan: Plan) -> str:
    """A round's start in a line."""
    if state.buffered:
        text = f"{state.title} begins, {len(state.members)} boxes are at work"
    else:
        text = f"{state.title} asks {len(state.members)} boxes"
    text += f" by the hand rule, as {plan.fallback}" if plan.fallback else ""
    return text + "".join(f"; not {box}: {why}" for box, why in plan.refused.items())
