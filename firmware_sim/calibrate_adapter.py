"""What training an adapter costs on this machine, where its extra and base model are here."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from coordinator.taskadapter import AdapterModel, adapter_of
from edge_client.circuit.backends.machine import NotHere
from edge_client.config import Adapter as Limits
from edge_client.dataset import Table
from proto.adapter import frozen_layout
from quantization.arrays import draw
from quantization.pack import pack
from quantization.scheme import EXACT

ROWS, BATCH, STEPS = 32, 8, 4
TEXT = "the pump on line {n} was louder than usual this morning, {n} bar at the inlet, please look"
"""Some 36 tokens with the prompt: what texts of boxes are like."""


class Found(NamedTuple):
    """In CPU seconds of this machine, and MiB."""

    start_s: float
    trunk_row_s: float
    row_s: float
    """One row of one step."""
    mib: float


def measure(tell: Callable[[str], None]) -> Found | None:
    """None, told why, where adapters cannot be trained here."""
    from edge_client.adapter.bench import AdapterBench, Site  # noqa: PLC0415 - an extra
    from edge_client.adapter.forecast import memory_mib  # noqa: PLC0415

    adapter, rng = adapter_of(AdapterModel(), 2), np.random.default_rng(0)
    layout = frozen_layout(adapter)
    frozen = pack(draw(layout, 0.1, rng), layout, EXACT, rng)
    labels = np.arange(ROWS) % 2
    texts = tuple(TEXT.format(n=n) for n in range(ROWS))
    table = Table(np.zeros((ROWS, 0)), labels, (), ("no", "yes"), texts)
    began = time.process_time()
    try:
        bench = AdapterBench(adapter, frozen, Site(Limits(), None, STEPS, BATCH))
    except NotHere as error:
        tell(f"no adapter: {error}")
        return None
    model = bench.model
    ids = bench.rows(table)
    model.prepare(ids[:1])
    opened = time.process_time()
    rows = model.prepare(ids)
    read = time.process_time()
    arrays, part = model.init(rng), rows.take(np.arange(BATCH))
    model.loss_and_grad(arrays, part, labels[:BATCH])
    warm = time.process_time()
    for _ in range(STEPS):
        model.loss_and_grad(arrays, part, labels[:BATCH])
    done = time.process_time()
    step = (done - warm) / STEPS
    return Found(
        start_s=(opened - began) + max(0.0, warm - read - step),
        trunk_row_s=(read - opened) / ROWS,
        row_s=step / BATCH,
        mib=memory_mib(adapter, BATCH, adapter.tokens),
    )
