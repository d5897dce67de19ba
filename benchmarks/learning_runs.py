"""One seed of `learning.py`: rows dealt, circuits trained on them, and judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from learning_fleet import TARGET, Fleet
from numpy.typing import NDArray

from coordinator import folding
from coordinator.taskfile import Data, Model, RoundsTable, TaskFile, Train, rules_of, task_of
from edge_client.circuit.classifier import classifier_model
from edge_client.dataset import Table, encode
from edge_client.kinds import features_of
from edge_client.ownhead import with_head
from edge_client.train import evaluate
from firmware_sim.judge import worst_decile
from firmware_sim.splits import deal, write_csv
from proto.circuit import classifier_layout
from proto.messages import OptimiserName, Task
from quantization.arrays import Arrays
from quantization.pack import unpack
from quantization.scheme import EXACT

SPLIT = "dirichlet:0.3"


@dataclass(frozen=True)
class Way:
    """How rounds go: on each box, and at the coordinator."""

    rounds: int = 60
    steps: int = 1
    optimiser: OptimiserName = "sgd"
    rate: float = 1.0
    decay: float | None = 1.0
    """Of the rate from round to round; None ends at a quarter."""
    aggregation: Literal["mean", "fedadam"] = "fedadam"


@dataclass(frozen=True)
class Setting:
    """A data set and how it is trained; all that is compared share circuit, way and steps.

    But for `adam`, the usual way where all rows lie in one place, which takes 300 steps.
    """

    source: str
    components: int = 4
    boxes: int = 10
    way: Way = Way()
    adam: Way = Way(rounds=30, steps=10, optimiser="adam", rate=0.1, decay=None, aggregation="mean")

    def file(
        self,
        table: Table,
        way: Way,
        ansatz: Any = "real-amplitudes",
        *,
        personal_head: bool = False,
    ) -> TaskFile:
        return TaskFile(
            job="learning",
            data=Data(classes=table.classes, columns=table.columns, components=self.components),
            model=Model(ansatz=ansatz),
            training=Train(
                optimiser=way.optimiser,
                steps=way.steps,
                learning_rate=way.rate,
                decay=way.decay,
                personal_head=personal_head,
            ),
            rounds=RoundsTable(count=way.rounds, aggregation=way.aggregation),
        )


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
        setting, table = self.setting, self.table
        split = deal(SPLIT, table.y, setting.boxes, self.seed)
        train = np.concatenate(split.boxes)
        sources = [self._file(str(k), rows) for k, rows in enumerate(split.boxes)]
        pooled = [self._file("all", train)]
        file = setting.file(table, setting.way)
        task = task_of(file, "fleet", 1)
        features = Fleet(task, sources, 0, self.seed).fit_features()
        z = features_of(task, table.X, features)
        judged = Judged(
            z, encode(table.labels, table.classes), np.concatenate(split.test), split.test
        )
        trained = partial(_trained, self.seed, features)
        together = trained(file, sources)
        found: dict[str, Any] = {
            "sizes": [len(rows) for rows in split.boxes],
            "federated": {
                **judged.one(task, together),
                **judged.each(task, [together] * len(sources)),
            },
            "pooled": judged.one(task, trained(file, pooled)),
            "pooled_adam": judged.one(task, trained(setting.file(table, setting.adam), pooled)),
            "logreg": {"test": _logistic(judged, train)},
            "logreg_local": {"test": float(np.mean([_logistic(judged, r) for r in split.boxes]))},
        }
        if whole:
            found |= self._others(judged, sources, trained)
        return found

    def _others(
        self, judged: Judged, sources: Sequence[Path], trained: Callable[..., Arrays]
    ) -> dict[str, Any]:
        """Each box alone, heads of the boxes' own, the paper's circuit."""
        setting, table = self.setting, self.table
        file = setting.file(table, setting.way)
        task = task_of(file, "fleet", 1)
        alone = [trained(file, [source]) for source in sources]
        found: dict[str, Any] = {
            "local": {
                "test": float(np.mean([judged.right(task, a, judged.test) for a in alone])),
                **judged.each(task, alone),
            }
        }
        own = setting.file(table, setting.way, personal_head=True)
        task = task_of(own, "fleet", 1)
        homes = [str(self.folder / f"home-{k}") for k in range(len(sources))]
        angles = trained(own, sources, homes)
        models = [with_head(home, task, angles) for home in homes]
        found["personal_heads"] = judged.each(task, models)
        if len(table.classes) == 2:
            paper = setting.file(table, setting.way, ansatz="paper")
            found["paper_circuit"] = judged.one(task_of(paper, "fleet", 1), trained(paper, sources))
        return found

    def _file(self, name: str, rows: NDArray[np.intp]) -> Path:
        path = self.folder / f"{name}.csv"
        write_csv(path, self.table, rows, TARGET)
        return path


def _trained(
    seed: int, features: bytes, file: TaskFile, sources: Sequence[Path], homes: Sequence[str] = ()
) -> Arrays:
    """The last model of these boxes."""
    task, server = task_of(file, "fleet", 1), folding.server_of(rules_of(file), b"")
    fleet = Fleet(task, sources, file.rounds.count, seed, homes, features, server)
    return unpack(fleet.train(), classifier_layout(task.model), EXACT)


def _logistic(judged: Judged, train: NDArray[np.intp]) -> float:
    from sklearn.linear_model import LogisticRegression

    z, y, test = judged.z, judged.y, judged.test
    if len(set(y[train].tolist())) == 1:  # it cannot be fitted: it says its only class
        return float((y[test] == y[train][0]).mean())
    return float(LogisticRegression(max_iter=1000).fit(z[train], y[train]).score(z[test], y[test]))
