"""Fleets for `llm_qfl.py`: SMS messages dealt to ten clients, read by the trunk, with a teacher.

One pool of messages is read once; a seed deals it anew, draws the first models, and trains a
teacher of its own: a LoRA adapter, federated over the same clients' training rows by the code of
the field. What came of it is kept in the cache (`QFLEET_CACHE`), since it is slow to make and holds
numbers that come from somebody's messages.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from llm_qfl_rounds import Box, Case, Floats, Labels
from numpy.typing import NDArray

from coordinator import folding
from coordinator.kinds import first_shared
from coordinator.taskadapter import AdapterModel
from coordinator.taskfile import Data, TaskFile, Train, task_of
from coordinator.updates import Part
from edge_client.adapter.bench import AdapterBench, Site
from edge_client.adapter.hidden import HiddenRows
from edge_client.config import Adapter as Limits
from edge_client.dataset import Table
from edge_client.hybrid.reading import pooled, sketched
from edge_client.hybrid.temperature import log_chances, loss, temperature
from edge_client.train import Hyper, Rows, local_update
from firmware_sim.boards import profiles
from firmware_sim.splits import Split, dirichlet
from proto.messages import TRAIN, Metrics, Task
from proto.models import model_layout
from quantization import moments
from quantization.arrays import Array, Arrays, delta
from quantization.pack import pack, unpack
from quantization.runtime.find import cache_folder
from quantization.scheme import EXACT, Scheme

CLIENTS = 10
SPAM, HAM = 360, 540
TEST = 1 / 3
ALPHA = 0.5
VALIDATION = 0.25
SKETCH, COMPONENTS = 64, 4
BOARDS = (*("pi-zero-2w",) * 3, *("pi-3b-plus",) * 3, *("pi-4",) * 2, *("pi-5",) * 2)
BLOCKS = 6
"""Of the teacher: the last of 30."""
ROUNDS, ASKED, STEPS = 4, 4, 6
"""Of the teacher: 96 training steps of 8 rows in all."""
PROMPT = "{text}\nIs this message spam? Answer:"
TOKENS = 64
RATE = 0.03
JUDGED = 100
"""Test rows its accuracy is told of; a forward pass of all would take long."""
MADE_BY = (
    1,
    CLIENTS,
    SPAM,
    HAM,
    TEST,
    ALPHA,
    VALIDATION,
    SKETCH,
    COMPONENTS,
    ROUNDS,
    STEPS,
    PROMPT,
)
"""What a kept fleet depends on beside the messages; the first number rises with this module."""


def pool(path: Path) -> Table:
    """The messages every seed deals: a fixed draw, with more spam than there is by nature."""
    lines = [line.split("\t", 1) for line in path.read_text("utf-8").splitlines()]
    y = np.array([label == "spam" for label, _ in lines], np.int64)
    rng = np.random.default_rng(0)
    chosen = np.concatenate(
        [
            rng.choice(np.flatnonzero(y == label), count, replace=False)
            for label, count in ((1, SPAM), (0, HAM))
        ]
    )
    chosen = rng.permutation(chosen)
    texts = tuple(lines[row][1] for row in chosen)
    return Table(np.empty((len(texts), 0)), y[chosen], (), ("ham", "spam"), texts)


def cases(path: Path, seeds: Iterable[int]) -> Iterator[Case]:
    """Each seed's fleet, from the cache where it is there."""
    key = hashlib.sha256(path.read_bytes() + repr(MADE_BY).encode()).hexdigest()[:16]
    folder = cache_folder() / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    reader = None
    for seed in seeds:
        file = folder / f"llm_qfl-{key}-{seed}.npz"
        if not file.exists():
            reader = reader or _Reader(pool(path), folder)
            np.savez(file, allow_pickle=False, **_made(reader, seed))
            print(f"made the fleet of seed {seed}", file=sys.stderr)
        with np.load(file) as arrays:
            yield _case(seed, dict(arrays))


class _Reader:
    """The pool, read: tokens, the trunk's states, and their sketch."""

    def __init__(self, table: Table, folder: Path) -> None:
        file = TaskFile(
            job="teacher",
            data=Data(classes=table.classes, columns=(), text="text"),
            model=AdapterModel(prompt=PROMPT, tokens=TOKENS, blocks=BLOCKS),
            training=Train(learning_rate=RATE, optimiser="adamw", steps=STEPS, batch=8, decay=0.8),
        )
        self.table, self.task = table, task_of(file, "bench", 1)
        self.folder = folder
        self.hidden: HiddenRows = self.bench(0).model.prepare(self.bench(0).rows(table))
        parts = [self.hidden.take(np.array([row])).states()[0][0] for row in range(len(table.y))]
        base = bytes.fromhex(self.task.model.base.hex())  # type: ignore[union-attr]
        self.columns = sketched(np.stack([pooled(part) for part in parts]), base, SKETCH)

    def bench(self, seed: int) -> AdapterBench:
        site = Site(Limits(), self.folder, STEPS, whole=True)
        return AdapterBench(self.task.model, first_shared(self.task, seed), site)  # type: ignore[arg-type]


def _made(reader: _Reader, seed: int) -> dict[str, NDArray[Any]]:
    """Everything of a case, as arrays."""
    y = reader.table.y
    split = dirichlet(y, CLIENTS, ALPHA, seed, TEST)
    rng = np.random.default_rng([seed, 1])
    dealt = [rng.permutation(rows) for rows in split.boxes]
    held = [rows[: max(5, round(VALIDATION * len(rows)))] for rows in dealt]
    train = [rows[len(h) :] for rows, h in zip(dealt, held, strict=True)]
    test = np.concatenate(split.test)
    wanted = np.concatenate([*dealt, test[:JUDGED]])
    logits = np.zeros((len(y), 2))
    logits[wanted] = _taught(reader, train, wanted, seed)
    found: dict[str, NDArray[Any]] = {"z": _features(reader.columns, split), "y": y, "test": test}
    chances = np.zeros(logits.shape)
    for number, (rows, h) in enumerate(zip(train, held, strict=True)):
        warmth = temperature(logits[h], y[h])
        both = np.concatenate([rows, h])
        chances[both] = log_chances(logits[both], warmth)
        found[f"train{number}"], found[f"held{number}"] = rows, h
    found["taught"] = chances
    everybody = np.concatenate(train)
    judged = test[:JUDGED]
    found["teacher_accuracy"] = np.array((logits[judged].argmax(axis=1) == y[judged]).mean())
    found["teacher_loss"] = np.array(loss(chances[np.concatenate(held)], y[np.concatenate(held)]))
    for name, features in (("features", found["z"]), ("sketch", reader.columns)):
        found[f"logistic_{name}"] = np.array(_logistic(features, y, everybody, test))
    return found


def _features(columns: Floats, split: Split) -> Array:
    """By the fleet's map, fitted on sums of each client's rows."""
    whole = moments.init(columns.shape[1])
    for rows in split.boxes:
        whole = moments.add(whole, moments.measure(columns[rows]))
    return moments.finish(whole, COMPONENTS).apply(columns)


def _logistic(z: NDArray[Any], y: Labels, train: NDArray[np.intp], test: NDArray[np.intp]) -> float:
    from sklearn.linear_model import LogisticRegression

    z = (z - z[train].mean(axis=0)) / z[train].std(axis=0)
    return float(LogisticRegression(max_iter=2000).fit(z[train], y[train]).score(z[test], y[test]))


def _taught(
    reader: _Reader, train: list[NDArray[np.intp]], wanted: NDArray[np.intp], seed: int
) -> Floats:
    """Logits of the wanted rows by an adapter that the clients have trained together."""
    bench = reader.bench(seed)
    task, model = reader.task, replace(bench.model, prepare=lambda ready: ready)
    packed, rng = folding.first_model(task, seed), np.random.default_rng([seed, 2])
    for number in range(1, ROUNDS + 1):
        asked = [train[box] for box in rng.choice(CLIENTS, ASKED, replace=False)]
        parts = [_lesson(reader, model, packed, (rows, seed, number)) for rows in asked]
        packed = folding.fold(task, TRAIN, packed, parts).data
    chances = model.predict(
        unpack(packed, model_layout(task.model), EXACT), reader.hidden.take(wanted)
    )
    return np.log(np.maximum(chances, 1e-9))


def _lesson(
    reader: _Reader, model: Any, packed: bytes, work: tuple[NDArray[np.intp], int, int]
) -> Part:
    """One client's part in a round of the teacher's training."""
    rows, seed, number = work
    task: Task = reader.task
    training, layout = task.training, model_layout(task.model)
    arrays: Arrays = unpack(packed, layout, EXACT)
    rate = training.learning_rate * training.decay ** (number - 1)
    hyper = Hyper(STEPS, rate, training.batch, seed * 100 + number, "adamw", warmup=1, probe=1)
    known, y = reader.hidden.take(rows), reader.table.y[rows]
    moved = local_update(model, arrays, Rows(known, y, known, y[:0]), hyper).arrays
    rng = np.random.default_rng([seed, number, int(rows[0])])
    payload = pack(delta(moved, arrays), layout, Scheme(training.bits, training.block), rng)
    told = Metrics(
        first_loss=0.0,
        last_loss=0.0,
        validation_loss=0.0,
        validation_accuracy=0.0,
        validation_rows=0,
        steps=STEPS,
    )
    return Part(len(rows), payload, told)


def _case(seed: int, arrays: dict[str, NDArray[Any]]) -> Case:
    z, y, taught = arrays["z"], arrays["y"], arrays["taught"]
    boxes = []
    for number, board in enumerate(BOARDS):
        rows, held = arrays[f"train{number}"], arrays[f"held{number}"]
        boxes.append(
            Box(
                name=f"box{number}",
                z=z[rows],
                y=y[rows],
                taught=taught[rows],
                validation_z=z[held],
                validation_y=y[held],
                validation_taught=taught[held],
                speed=profiles()[board].speed,
            )
        )
    named = ("teacher_accuracy", "teacher_loss", "logistic_features", "logistic_sketch")
    baselines = {name: float(arrays[name]) for name in named}
    return Case(seed, tuple(boxes), z[arrays["test"]], y[arrays["test"]], baselines)
