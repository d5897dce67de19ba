"""Boxes and coordinator of one job, for benchmarks of learning: by the functions both really run.

Only the way between them is short: what would be sealed and sent is handed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coordinator import folding
from coordinator.updates import Part
from edge_client import config
from edge_client.labour import Own, carry_out, own_rows
from edge_client.requests import Assignment, Done
from proto.codec import encode as encoded
from proto.messages import MOMENTS, TRAIN, BlobRef, Offer, Task, Update

NOWHERE = BlobRef(digest=bytes(32), address=bytes(16), size=1)
TARGET = "label"


@dataclass
class Fleet:
    """Boxes, each a file of rows, and the coordinator's side of a job."""

    task: Task
    sources: Sequence[Path]
    rounds: int
    seed: int
    homes: Sequence[str] = ()
    features: bytes = b""
    server: folding.Server = folding.MEAN
    read: dict[str, Own] = field(default_factory=dict)
    """Rows of each file, which in truth a box reads in every round."""
    work: dict[str, int] = field(default_factory=dict)
    """Evaluations, gradients and shots of all boxes and rounds."""

    def fit_features(self) -> bytes:
        """The round of moments: from sums alone to the fleet's feature map."""
        self.features = self._round(MOMENTS, 0, b"")
        return self.features

    def train(self) -> bytes:
        """The last round's model, packed."""
        model = folding.first_model(self.task, self.seed)
        for number in range(1, self.rounds + 1):
            model = self._round(TRAIN, number, model)
        return model

    def _round(self, kind: int, number: int, model: bytes) -> bytes:
        parts = []
        for box in range(len(self.sources)):
            update = self._update(box, self._offer(kind, number), model)
            folding.Checks(self.task).check(kind, update)
            parts.append(Part(update.rows, update.payload, update.metrics))
        result = folding.fold(self.task, kind, model, parts, self.server)
        self.server = self.server._replace(state=result.state)
        for name in ("evaluations", "gradients", "shots"):
            self.work[name] = self.work.get(name, 0) + getattr(result.figures, name)
        return result.data

    def _offer(self, kind: int, number: int) -> Offer:
        return Offer(
            job=self.task.job,
            round=number,
            turn=number + 1,
            kind=kind,
            task=bytes(16),
            key=bytes(32),
            model=NOWHERE,
            features=NOWHERE if self.features else None,
            inline=b"",
            steps=self.task.training.steps,
            seconds=600,
            seed=self.seed,
        )

    def _update(self, box: int, offer: Offer, model: bytes) -> Update:
        request = Assignment(
            box=f"box-{box}",
            id=bytes(16),
            task=encoded(self.task),
            offer=offer,
            model=model,
            features=self.features,
            data=config.Data(source=str(self.sources[box]), target=TARGET),
            home=self.homes[box] if self.homes else "",
        )
        done = carry_out(request, self._own)
        if not isinstance(done, Done):
            raise SystemExit(f"box {box}: {done}")
        return done.update

    def _own(self, task: Task, data: config.Data) -> Own:
        if data.source not in self.read:
            self.read[data.source] = own_rows(task, data)
        return self.read[data.source]
