"""An adapter ready to train on this box: the engine, its rows' states, and the limits it keeps."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.random import Generator
from numpy.typing import NDArray

from edge_client import readings
from edge_client.adapter.engine import Engine, engine_of, one_hot
from edge_client.adapter.forecast import Watch, part_of
from edge_client.adapter.hidden import Cache, HiddenRows, Tokens, Trunk
from edge_client.adapter.pace import Pace
from edge_client.adapter.prompts import token_rows
from edge_client.config import Adapter as Limits
from edge_client.config import EdgeConfig
from edge_client.dataset import Table
from edge_client.model import Features, Labels, Model, Parts
from proto.adapter import Adapter, adapter_layout, frozen_layout
from proto.errors import LocalError
from quantization.adapters.lora import filled
from quantization.arrays import Array, Arrays
from quantization.pack import unpack
from quantization.runtime.sessions import Batch, Task
from quantization.scheme import EXACT

PROBE = 16
"""Training rows on which losses are told: a forward pass costs a third of a training step."""
TOGETHER = 8
"""Rows that are answered at once."""
STEP_SHARE = 2.2
"""Cost of a token in a training step of one block, in those of the trunk's pass through one."""
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Site:
    """This box as an adapter's training sees it."""

    limits: Limits
    home: Path | None
    steps: int = 0
    """Training steps to come, of so many rows, within so many seconds; 0 only predicts."""
    batch: int = 8
    seconds: float = float("inf")
    whole: bool = True
    """The task's rank, also where this box trains a lower one: for judging and answering."""


def rank_of(adapter: Adapter, limits: Limits) -> int:
    """The rank this box trains, 0 for the task's. Raises LocalError for one below the least."""
    if not limits.rank or limits.rank >= adapter.rank:
        return 0
    least = adapter.least_rank or adapter.rank
    if limits.rank < least:
        raise LocalError(f"this box trains rank {limits.rank} at most; the task asks {least}")
    return limits.rank


def check_adapter_ready(adapter: Adapter, limits: Limits, batch: int) -> None:
    """Raises QfleetError where this box lacks a library, the base model or the memory."""
    rank_of(adapter, limits)
    part_of(adapter, batch, limits, psutil.virtual_memory().available // MIB)
    engine_of(adapter, limits).head(adapter.answers)


class AdapterBench:
    """A bench (see `edge_client/kinds.py`) for one adapter on this box."""

    shots = 0
    probe = PROBE
    teacher_loss = None

    def __init__(self, adapter: Adapter, frozen: bytes, site: Site) -> None:
        self._adapter, self._site = adapter, site
        self.rank = 0 if site.whole else rank_of(adapter, site.limits)
        self.personal = adapter.personal
        free = psutil.virtual_memory().available // MIB
        self._part = part_of(adapter, site.batch, site.limits, free) if site.steps else TOGETHER
        self._engine: Engine = engine_of(adapter, site.limits)
        folder = site.home / "hidden" if site.home else None
        width = self._engine.model.facts.shape.width
        self._cache = Cache(folder, self._engine.which, width, site.limits.cache_mib)
        board = readings.Board(site.home or Path.cwd(), EdgeConfig(), time.monotonic)
        self._pace = Pace(site.limits, board.read, time.sleep)
        self._watch = Watch(site.seconds, time.monotonic)
        self._task = Task(self._engine.head(adapter.answers), adapter.alpha / adapter.rank)
        layout = frozen_layout(adapter)
        self._frozen = self.cut(unpack(frozen, layout, EXACT)) if layout else {}
        self._steps_done = 0
        self._run: Trunk | None = None

    @property
    def model(self) -> Model[HiddenRows]:
        return Model(self._init, self._prepare, self._loss_and_grad, self._predict)

    def cut(self, arrays: Arrays) -> Arrays:
        """A's first columns and B's first rows, where this box trains a lower rank."""
        if not self.rank:
            return arrays
        return {
            name: np.ascontiguousarray(
                array[..., : self.rank] if name.endswith("_a") else array[:, : self.rank]
            )
            for name, array in arrays.items()
        }

    def rows(self, table: Table, parts: Parts | None = None) -> Features:  # noqa: ARG002
        begin = list(self._engine.model.tokens.begin)
        return token_rows(self._adapter, begin, self._engine.encode, table)

    def close(self) -> None:
        """Nothing is held that the next round would not want."""

    def lora(self, arrays: Arrays) -> dict[str, Array]:
        """All four arrays: trained, frozen, and zeros where nothing is adapted."""
        shape, rank = self._engine.model.facts.shape, self.rank or self._adapter.rank
        return filled({**self._frozen, **arrays}, shape, self._adapter.blocks, rank)

    def _init(self, rng: Generator) -> dict[str, Array]:
        layout = adapter_layout(self._adapter, self.rank)
        return {
            name: np.asarray(
                rng.normal(0.0, dims[1] ** -0.5, dims) if name.endswith("_a") else np.zeros(dims),
                np.float32,
            )
            for name, dims in layout
        }

    def _prepare(self, ids: Features) -> HiddenRows:
        if self._site.home:
            return self._cache.prepare(ids, self._trunk)
        # Who only answers keeps the trunk open, and no states.
        return Cache(None, "", self._cache.width, 0).prepare(ids, self._open_once)

    def _open_once(self, _tokens: int) -> Trunk:
        self._run = self._run or self._engine.open_trunk()
        return self._run

    def _trunk(self, tokens: int) -> Trunk:
        run, began, done = self._engine.trunk(), 0.0, 0
        lower = self._engine.model.facts.blocks - self._adapter.blocks
        each = self._site.batch * self._adapter.tokens / 2 or tokens
        trained = self._site.steps * each
        more = trained * STEP_SHARE * self._adapter.blocks / lower

        def watched(batches: Sequence[Tokens]) -> Iterator[Array]:
            nonlocal began, done
            self._pace.wait()
            began = began or time.monotonic()
            yield from run(batches)
            first, done = not done, done + sum(len(row) for rows in batches for row in rows)
            if first:
                self._watch.check(done, tokens, began, more)

        return watched

    def _loss_and_grad(
        self, arrays: Arrays, rows: HiddenRows, labels: Labels
    ) -> tuple[float, dict[str, Array]]:
        self._pace.wait()
        began, lora = time.monotonic(), self.lora(arrays)
        loss, total = (
            0.0,
            {name: np.zeros(array.shape, np.float32) for name, array in arrays.items()},
        )
        order = np.argsort(rows.lengths, kind="stable")  # short ones need not wait for long ones
        for at in _parts(rows.rows, self._part):
            index = order[at]
            states, last = rows.take(index).states()
            target = one_hot(labels[index], len(self._adapter.answers))
            step = self._engine.trainer.step(lora, self._task, Batch(states, last, target))
            share = np.float32(len(index) / rows.rows)
            loss += step.loss * float(share)
            for name in total:
                total[name] += share * step.gradients[name]
        self._steps_done += 1
        if self._steps_done == 2:  # noqa: PLR2004 - the first also opens the graph
            self._watch.check(1, self._site.steps - 1, began)
        return loss, total

    def _predict(self, arrays: Arrays, rows: HiddenRows) -> NDArray[np.float64]:
        lora = self.lora(arrays)
        chances = np.empty((rows.rows, len(self._adapter.answers)))
        order = np.argsort(rows.lengths, kind="stable")
        for at in _parts(rows.rows, TOGETHER):
            index = order[at]
            states, last = rows.take(index).states()
            batch = Batch(states, last)
            chances[index] = np.exp(self._engine.forward.log_probabilities(lora, self._task, batch))
        return chances


def _parts(rows: int, size: int) -> Iterator[NDArray[np.intp]]:
    for at in range(0, rows, size):
        yield np.arange(at, min(at + size, rows))
