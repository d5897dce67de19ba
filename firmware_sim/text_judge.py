"""What a fleet that learned to read has learned, on rows no box ever held."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coordinator.export import export
from coordinator.reports import show
from coordinator.store import Store
from coordinator.taskadapter import AdapterModel
from coordinator.taskfile import Train
from edge_client.adapter.bench import TOGETHER, AdapterBench, Site
from edge_client.adapter.engine import engine_of
from edge_client.config import Adapter as Limits
from edge_client.dataset import Table
from edge_client.kinds import predictor_of
from firmware_sim.splits import Split
from proto.adapter import Adapter
from proto.codec import decode_signed
from proto.errors import ConfigError
from proto.messages import Task
from proto.models import model_layout
from quantization.adapters.files import read_adapter
from quantization.pack import unpack
from quantization.runtime import sessions
from quantization.scheme import EXACT

CIRCUIT = "circuit"
"""The job that the adapter's teaches."""
SHOWN = (
    *("kind", "round", "outcome", "included", "validation_loss", "validation_accuracy"),
    *("teacher_loss", "bytes_up", "bytes_down"),
)


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Texts with labels, who holds which, and how the language model is asked."""

    name: str
    table: Table
    split: Split
    model: AdapterModel
    training: Train
    aggregation: Literal["mean", "fedadam"] = "mean"
    teaches: bool = True
    """Whether a circuit is trained afterwards, with the adapter for its teacher."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the judge works: a base model, and a folder for what it has read."""

    base: Path
    home: Path

    @property
    def limits(self) -> Limits:
        return Limits(base=str(self.base))


def desk(base: Path, fleet: Path) -> Desk:
    """A desk in a fleet's folder, on which lies what the base models of its boxes have read."""
    home = fleet / "judge"
    read = home / "hidden"
    read.mkdir(parents=True)
    for path in fleet.glob("*/hidden/*.hidden"):
        if not (read / path.name).exists():
            os.link(path, read / path.name)
    return Desk(base, home)


def verdict(store: Store, rows: Rows, out: Path, desk: Desk) -> dict[str, Any]:
    """What was learned, on test rows, and by simpler ways; the adapter is exported into `out`."""
    table, split = rows.table, rows.split
    train, test = np.concatenate(split.boxes), np.concatenate(split.test)
    adapter, _ = _judged(store, rows.name, _part(table, test), desk)
    files = export(store, rows.name, out, ("gguf", "onnx", "peft"), str(desk.base))
    answers, sample = asked(files[0], store, rows, desk)
    return {
        "task": rows.name,
        "sizes": [len(part) for part in split.boxes],
        "test_rows": len(test),
        "adapter_accuracy": _share(adapter.argmax(axis=1) == table.y[test]),
        "most_frequent_class": _share(table.y[test] == np.bincount(table.y[train]).argmax()),
        "pooled_words": _words(table, train, test),
        "files": [str(path) for path in files],
        "exported_adapter_accuracy": _share(answers == table.y[test]),
        "exported_agrees": _share(answers == adapter.argmax(axis=1)),
        "sample": sample,
        **(_circuits(store, rows, desk) if rows.teaches else {}),
        "jobs": {job.id: _history(store, job.id) for job in store.jobs()},
    }


def _circuits(store: Store, rows: Rows, desk: Desk) -> dict[str, float]:
    """The circuit on test rows, beside logistic regression on what it was given."""
    table = rows.table
    train, test = np.concatenate(rows.split.boxes), np.concatenate(rows.split.test)
    circuit, z = _judged(store, CIRCUIT, _part(table, np.concatenate([test, train])), desk)
    right = circuit[: len(test)].argmax(axis=1) == table.y[test]
    given = (z[: len(test)], table.y[test])
    return {
        "circuit_accuracy": _share(right),
        "logistic_on_the_circuits_features": _logistic(z[len(test) :], table.y[train], given),
    }


def _judged(store: Store, job: str, table: Table, desk: Desk) -> tuple[NDArray[np.float64], Any]:
    """What a job's newest model says of rows, (rows, classes), and what it was given of them."""
    row, model, shared = store.job(job), store.model(job, "model"), store.model(job, "features")
    if row is None or model is None or not model.turn:
        raise ConfigError(f"job {job!r} ended before any round of training did")
    task = decode_signed(row.task, Task)
    features = shared.data if shared else b""
    bench = predictor_of(task, features, desk.limits, home=desk.home)
    arrays = unpack(model.data, model_layout(task.model), EXACT)
    z = bench.rows(table)
    return bench.model.predict(arrays, bench.model.prepare(z)), z


def asked(
    file: Path, store: Store, rows: Rows, desk: Desk
) -> tuple[NDArray[np.intp], dict[str, str]]:
    """Class numbers that an exported adapter, read back, gives test rows; one row, answered."""
    row, shared = store.job(rows.name), store.model(rows.name, "features")
    spec = decode_signed(row.task, Task).model if row else None
    assert isinstance(spec, Adapter)
    test = np.concatenate(rows.split.test)
    bench = AdapterBench(spec, shared.data if shared else b"", Site(desk.limits, desk.home))
    engine = engine_of(spec, desk.limits)
    read = read_adapter(file, engine.model.facts, engine.model.sha256)
    task = sessions.Task(engine.head(spec.answers), read.scale)
    hidden = bench.model.prepare(bench.rows(_part(rows.table, test)))
    said = []
    for at in range(0, hidden.rows, TOGETHER):
        index = np.arange(at, min(at + TOGETHER, hidden.rows))
        batch = sessions.Batch(*hidden.take(index).states())
        said.append(engine.forward.log_probabilities(read.arrays, task, batch))
    answers = np.concatenate(said).argmax(axis=1)
    text, answer = rows.table.texts[test[0]], rows.table.classes[answers[0]]
    return answers, {"text": text, "answer": answer, "label": rows.table.labels[test[0]]}


def _part(table: Table, index: NDArray[np.intp]) -> Table:
    texts = tuple(table.texts[row] for row in index.tolist())
    return Table(table.X[index], table.y[index], table.columns, table.classes, texts)


def _share(right: NDArray[np.bool_]) -> float:
    return round(float(right.mean()), 4)


def _logistic(
    z: NDArray[Any], y: NDArray[np.int64], test: tuple[NDArray[Any], NDArray[np.int64]]
) -> float:
    """Logistic regression on what the circuit was given, all boxes' rows together."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - heavy

    return _share(LogisticRegression(max_iter=1000).fit(z, y).predict(test[0]) == test[1])


def _words(table: Table, train: NDArray[np.intp], test: NDArray[np.intp]) -> float:
    """TF-IDF and logistic regression on all boxes' texts together: no box would allow it."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    known = vectors.fit_transform([table.texts[row] for row in train])
    asked_ = vectors.transform([table.texts[row] for row in test])
    return _logistic(known, table.y[train], (asked_, table.y[test]))


def _history(store: Store, job: str) -> list[dict[str, Any]]:
    """Each round's figures; bytes are what the broker carried."""
    return [{key: row[key] for key in SHOWN} for row in show(store, job)["history"]]
