"""One seed of `learning.py`: rows dealt, and trained by what boxes and coordinator run.

Only the way between them is short: what would be sealed and sent is handed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator import folding
from coordinator.taskfile import Data, Model, RoundsTable, TaskFile, Train, task_of
from edge_client import config
from edge_client.circuit.classifier import classifier_model
from edge_client.dataset import Table, encode
from edge_client.kinds import features_of
from edge_client.labour import carry_out
from edge_client.ownhead import with_head
from edge_client.requests import Assignment, Done
from edge_client.train import evaluate
from firmware_sim.judge import worst_decile
from firmware_sim.splits import deal, write_csv
from proto.circuit import classifier_layout
from proto.codec import decode_sealed
from proto.codec import encode as encoded
from proto.messages import MOMENTS, TRAIN, BlobRef, Offer, Task, Update
from quantization.arrays import Arrays
from quantization.pack import unpack
from quantization.scheme import EXACT

SPLIT = "dirichlet:0.3"
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
            folding.check(self.task, kind, update)
            parts.append(folding.Part(update.rows, update.payload, update.metrics))
        result = folding.fold(self.task, kind, model, parts)
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
            offer=encoded(offer),
            model=model,
            features=self.features,
            data=config.Data(source=str(self.sources[box]), target=TARGET),
            home=self.homes[box] if self.homes else "",
        )
        done = carry_out(request)
        if not isinstance(done, Done):
            raise SystemExit(f"box {box}: {done}")
        update = decode_sealed(done.update)
        assert isinstance(update, Update)
        return update


@dataclass(frozen=True)
class Setting:
    """A data set and how it is trained; all that is compared share rounds, steps and rates."""

    source: str
    components: int = 4
    rounds: int = 30
    steps: int = 10
    boxes: int = 10
    decay: float | None = None
    """Of the rate from round to round; None ends at a quarter."""

    def task(
        self, table: Table, ansatz: Any = "real-amplitudes", *, personal_head: bool = False
    ) -> Task:
        file = TaskFile(
            job="learning",
            data=Data(classes=table.classes, columns=table.columns, components=self.components),
            model=Model(ansatz=ansatz),
            training=Train(steps=self.steps, decay=self.decay, personal_head=personal_head),
            rounds=RoundsTable(count=self.rounds),
        )
        return task_of(file, "fleet", 1)


@dataclass(frozen=True)
class Judged:
    """Features and labels of all rows, the test rows, and those like each box's own."""

    z: NDArray[np.float32]
    y: NDArray[np.int64]
    test: NDArray[np.intp]
    own: tuple[NDArray[np.intp], ...]

    def right(self, task: Task, arrays: Arrays, rows: NDArray[np.intp]) -> float:
        return evaluate(classifier_model(task.model), arrays, self.z[rows], self.y[rows]).accuracy

    def one(self, task: Task, arrays: Arrays) -> dict[str, float]:
        """One model for all."""
        served = [self.right(task, arrays, rows) for rows in self.own if len(rows)]
        found = {"worst_decile": worst_decile(served)}
        return {"test": self.right(task, arrays, self.test), **found}

    def each(self, task: Task, models: Sequence[Arrays]) -> dict[str, float]:
        """A model for each box, on test rows like its own; all test rows count the same."""
        served, count = [], []
        for arrays, rows in zip(models, self.own, strict=True):
            if len(rows):
                served.append(self.right(task, arrays, rows))
                count.append(len(rows))
        return {
            "own": float(np.average(served, weights=count)),
            "worst_decile": worst_decile(served),
        }


@dataclass(frozen=True)
class Deal:
    """One seed's rows as files, the fleet's features of them, and who judges."""

    setting: Setting
    table: Table
    seed: int
    folder: Path

    def run(self, *, whole: bool) -> dict[str, Any]:
        """Figures of the federated and the pooled circuit, and where whole of all others."""
        split = deal(SPLIT, self.table.y, self.setting.boxes, self.seed)
        train = np.concatenate(split.boxes)
        sources = [self._file(str(k), rows) for k, rows in enumerate(split.boxes)]
        task, rounds = self.setting.task(self.table), self.setting.rounds
        features = Fleet(task, sources, rounds, self.seed).fit_features()
        z, y = (
            features_of(task, self.table.X, features),
            encode(self.table.labels, self.table.classes),
        )
        judged = Judged(z, y, np.concatenate(split.test), split.test)

        def trained(task: Task, sources: Sequence[Path], homes: Sequence[str] = ()) -> Arrays:
            fleet = Fleet(task, sources, rounds, self.seed, homes=homes, features=features)
            return unpack(fleet.train(), classifier_layout(task.model), EXACT)

        together = trained(task, sources)
        found: dict[str, Any] = {
            "sizes": [len(rows) for rows in split.boxes],
            "federated": {
                **judged.one(task, together),
                **judged.each(task, [together] * len(sources)),
            },
            "pooled": judged.one(task, trained(task, [self._file("all", train)])),
            "logreg": {"test": _logistic(judged, train)},
            "logreg_local": {"test": float(np.mean([_logistic(judged, r) for r in split.boxes]))},
        }
        if not whole:
            return found
        alone = [trained(task, [source]) for source in sources]
        found["local"] = {
            "test": float(np.mean([judged.right(task, a, judged.test) for a in alone])),
            **judged.each(task, alone),
        }
        own = self.setting.task(self.table, personal_head=True)
        homes = [str(self.folder / f"home-{k}") for k in range(len(sources))]
        angles = trained(own, sources, homes)
        models = [with_head(home, own, angles) for home in homes]
        found["personal_heads"] = judged.each(own, models)
        if len(self.table.classes) == 2:
            paper = self.setting.task(self.table, ansatz="paper")
            found["paper_circuit"] = judged.one(paper, trained(paper, sources))
        return found

    def _file(self, name: str, rows: NDArray[np.intp]) -> Path:
        path = self.folder / f"{name}.csv"
        write_csv(path, self.table, rows, TARGET)
        return path


def _logistic(judged: Judged, train: NDArray[np.intp]) -> float:
    from sklearn.linear_model import LogisticRegression

    z, y, test = judged.z, judged.y, judged.test
    if len(set(y[train].tolist())) == 1:  # it cannot be fitted: it says its only class
        return float((y[test] == y[train][0]).mean())
    return float(LogisticRegression(max_iter=1000).fit(z[train], y[train]).score(z[test], y[test]))
