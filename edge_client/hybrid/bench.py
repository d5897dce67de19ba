"""A bench (see `edge_client/kinds.py`) for a circuit that reads text and may have a teacher."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.adapter.bench import AdapterBench, Site, check_adapter_ready
from edge_client.adapter.engine import engine_of
from edge_client.adapter.hidden import HiddenRows
from edge_client.circuit.backends.chosen import Workbench
from edge_client.circuit.classifier import with_teacher
from edge_client.config import Adapter as Limits
from edge_client.dataset import Table
from edge_client.hybrid.reading import pooled, sketched
from edge_client.hybrid.remembered import remembered
from edge_client.hybrid.teacher import Lesson, drawn, fleets, frozen_of, own
from edge_client.hybrid.temperature import log_chances, loss, temperature
from edge_client.model import Features, Model, Parts
from proto.codec import encode
from proto.hybrid import Hybrid, teacher_layout
from proto.messages import Task
from proto.models import label_columns, summed_columns
from quantization import moments
from quantization.arrays import Array, Arrays
from quantization.pack import unpack
from quantization.scheme import EXACT


def check_hybrid_ready(hybrid: Hybrid, limits: Limits) -> None:
    """Raises QfleetError where this box lacks a library, the base model or the memory."""
    if hybrid.teacher == "own":
        check_adapter_ready(hybrid.reader, limits, 1)
    else:
        engine_of(hybrid.reader, limits).head(hybrid.reader.answers)


class HybridBench:
    """One circuit on this box; the language model is opened only for rows it has not read yet."""

    rank = 0
    probe = 0
    personal = 0

    def __init__(self, task: Task, features: bytes, bench: Workbench, site: Site) -> None:
        assert isinstance(task.model, Hybrid)
        self._task, self._hybrid, self._bench, self._site = task, task.model, bench, site
        self._features = features
        self.teacher_loss: float | None = None

    @property
    def model(self) -> Model[Any]:
        return self._bench.model

    @property
    def shots(self) -> int:
        return self._bench.shots

    def cut(self, arrays: Arrays) -> Arrays:
        return arrays

    def close(self) -> None:
        self._bench.close()

    def columns(self, table: Table) -> NDArray[np.float64]:
        """What the fleet's map is fitted on: classes if asked for, the texts' sketch, numbers."""
        hybrid = self._hybrid

        def read() -> Array:
            hidden = self._hidden(table)
            parts = [hidden.take(np.array([row])).states()[0][0] for row in range(hidden.rows)]
            rows = np.stack([pooled(part) for part in parts])
            return sketched(rows, hybrid.reader.base, hybrid.sketch).astype(np.float32)

        shape = (len(table.X), hybrid.sketch)
        name = self._name(table, "columns", hybrid.sketch.to_bytes(2, "little"))
        said = np.eye(hybrid.circuit.classes)[table.y][:, : label_columns(hybrid)]
        return np.concatenate([said, remembered(self._folder, name, shape, read), table.X], axis=1)

    def rows(self, table: Table, parts: Parts | None = None) -> Features:
        """Features of each row; beside them what the teacher says, where it has a share.

        parts: the box's rows by their use; without them, which is to predict, nobody teaches.
        """
        shared = self._shared()
        z = moments.feature_map(shared).apply(self.columns(table))
        if parts is None or self._hybrid.teacher == "none":
            return z
        logits = self._logits(table, parts, shared).astype(np.float64)
        held = parts.validation
        warmth = temperature(logits[held], table.y[held])
        taught = log_chances(logits, warmth)
        self.teacher_loss = loss(taught[held], table.y[held]) if len(held) else None
        return with_teacher(z, taught) if self._hybrid.share else z

    def _logits(self, table: Table, parts: Parts, shared: Arrays) -> Array:
        hybrid = self._hybrid
        reader = hybrid.reader
        given = {n.removeprefix("teacher_"): a for n, a in shared.items() if n[:7] == "teacher"}

        def fleets_say() -> Array:
            bench = AdapterBench(reader, frozen_of(reader, given), self._whole(1))
            said = fleets(bench.model, reader, given, self._hidden(table))
            return said.astype(np.float32)

        def own_says() -> Array:
            site = self._whole(hybrid.teacher_steps)
            bench = AdapterBench(reader, frozen_of(reader, drawn(reader)), site)
            lesson = Lesson(self._hidden(table), table.y, parts.train)
            return own(bench.model, lesson, hybrid.teacher_steps).astype(np.float32)

        say: Callable[[], Array] = fleets_say if given else own_says
        digest = hashlib.sha256(self._features if given else parts.train.astype("<i8").tobytes())
        name = self._name(table, "teacher", digest.digest() + table.y.astype("<i8").tobytes())
        return remembered(self._folder, name, (len(table.X), len(reader.answers)), say)

    def _hidden(self, table: Table) -> HiddenRows:
        bench = self._reader
        rows: HiddenRows = bench.model.prepare(bench.rows(table))
        return rows

    @cached_property
    def _reader(self) -> AdapterBench:
        reader = self._hybrid.reader
        # With a folder, the trunk's states are kept for the teacher, which wants them next.
        return AdapterBench(reader, frozen_of(reader, drawn(reader)), self._whole(1))

    def _whole(self, steps: int) -> Site:
        """Where an adapter of the task's whole rank works, whatever this box trains at most."""
        if self._site.home is None:
            return replace(self._site, whole=True)
        return replace(self._site, steps=steps, whole=True)

    @property
    def _folder(self) -> Path | None:
        return self._site.home / "hybrid" if self._site.home else None

    def _name(self, table: Table, what: str, more: bytes) -> str:
        known = hashlib.sha256(what.encode() + encode(self._task.data) + more)
        known.update(encode(self._hybrid.reader))
        known.update(self._hybrid.teacher_steps.to_bytes(4, "little"))
        known.update(table.X.astype("<f8").tobytes())
        for text in table.texts:
            data = text.encode()
            known.update(len(data).to_bytes(4, "little") + data)
        return known.hexdigest()[:32]

    def _shared(self) -> dict[str, Array]:
        """The features blob: the fleet's map, and its teacher."""
        data = self._task.data
        columns = summed_columns(self._hybrid, len(data.columns))
        layout = moments.feature_layout(columns, data.components)
        return unpack(self._features, (*layout, *teacher_layout(self._hybrid)), EXACT)
