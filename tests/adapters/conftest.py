"""A tiny base model for all tests of adapters; without the extra's libraries they are skipped."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from coordinator.kinds import first_shared
from coordinator.taskadapter import AdapterModel
from coordinator.taskfile import Data, RoundsTable, TaskFile, Train, task_of
from edge_client import config
from edge_client.adapter.engine import forget
from proto.messages import Task
from tests.adapters.tiny import write_graphs, write_tiny

WORDS = {
    "ham": ("see you at home", "lunch at noon then"),
    "spam": ("WIN CASH NOW!", "FREE $$$ PRIZE!"),
}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model's file; its graphs are where the runtime looks for them."""
    for library in ("onnxruntime", "tokenizers", "gguf", "onnx"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("tiny")
    before = os.environ.get("QFLEET_GRAPHS")
    os.environ["QFLEET_GRAPHS"] = str(write_graphs(folder / "graphs"))
    yield write_tiny(folder / "tiny.gguf")
    forget()
    if before is None:
        del os.environ["QFLEET_GRAPHS"]
    else:
        os.environ["QFLEET_GRAPHS"] = before


@pytest.fixture
def file(base: Path) -> TaskFile:
    """A task that learns within seconds."""
    return TaskFile(
        job="sms",
        data=Data(classes=("ham", "spam"), text="text", min_rows=8, validation=0.25),
        model=AdapterModel(
            base=str(base), blocks=2, rank=4, alpha=8.0, prompt="{text}?", tokens=32
        ),
        training=Train(optimiser="adamw", steps=12, learning_rate=0.02, warmup=2, bits=8),
        # A loaded machine may take its time: boxes hold a real clock against the deadline.
        rounds=RoundsTable(count=2, quorum=2, cohort=3, deadline="1d"),
    )


@pytest.fixture
def task(file: TaskFile) -> Task:
    return task_of(file, "fleet", 1)


@pytest.fixture
def frozen(task: Task) -> bytes:
    return first_shared(task, 0)


@pytest.fixture
def limits(base: Path) -> config.Adapter:
    return config.Adapter(base=str(base))


def write_rows(path: Path, seed: int, rows: int = 24) -> str:
    """Messages of both classes, with a number each to be told apart."""
    rng = np.random.default_rng(seed)
    lines = ["label\ttext"]
    for number in range(rows):
        label = ("ham", "spam")[number % 2]
        words = WORDS[label][int(rng.integers(2))]
        lines.append(f"{label}\t{words} {int(rng.integers(100))}")
    path.write_text("\n".join(lines))
    return str(path)
