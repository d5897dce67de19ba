"""Made-up sensor rows for emulated clients: two classes that no straight line parts, by seed.

Six readings of a machine hang on two hidden ones; whether it is about to fail depends on both
together. Each client sees classes in its own proportion, through sensors a little off, and may
drift. Pure: the same client, seed and drift give the same rows.
"""

import numpy as np
from numpy.typing import NDArray

from edge_client.dataset import Table
from firmware_sim.population import Client

COLUMNS = ("temperature", "vibration", "current", "pressure", "noise", "humidity")
CLASSES = ("steady", "failing")
NOISE = 0.35
"""Of each reading, in standard deviations of what it shows."""
OFFSET = 0.15
"""Sigma of how far a client's sensors are off."""
FLIPPED = 0.5
"""Share of wrong labels at a noisy client."""
HELD_BACK = 2000
_MIXING = np.random.default_rng(41).normal(size=(2, len(COLUMNS)))
_TEST, _TEACHER, _FINAL = 77, 78, 79


def rows(client: Client, skew: float, seed: int, drift: float = 0.0) -> Table:
    """The client's own rows. `skew` is Dirichlet's alpha, `drift` in standard deviations."""
    rng = np.random.default_rng((seed, client.seed & 0xFFFFFFFF, client.number))
    failing = float(rng.dirichlet([skew, skew])[1])
    y = (rng.random(client.rows) < failing).astype(np.int64)
    offset, way = rng.normal(0.0, OFFSET, len(COLUMNS)), rng.normal(size=len(COLUMNS))
    X = _readings(y, rng) + offset + drift * way / np.linalg.norm(way)
    if client.noisy:
        y = np.where(rng.random(client.rows) < FLIPPED, 1 - y, y)
    return Table(X, y, COLUMNS, CLASSES)


def held_back(seed: int, count: int = HELD_BACK, which: int = _TEST) -> Table:
    """Rows that no client holds, both classes alike, from sensors that are not off."""
    rng = np.random.default_rng((seed, which))
    y = (np.arange(count) % 2).astype(np.int64)
    return Table(_readings(y, rng), y, COLUMNS, CLASSES)


def for_teacher(seed: int, count: int = 500) -> Table:
    """Other such rows: a teacher may choose by them, as no target is measured there."""
    return held_back(seed, count, _TEACHER)


def for_the_end(seed: int) -> Table:
    """Others again, that nothing at all was chosen by."""
    return held_back(seed, HELD_BACK, _FINAL)


def _readings(y: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Failing: the hidden two have the same sign; steady: they differ."""
    signs = rng.choice([-1.0, 1.0], len(y))
    hidden = np.stack([signs, np.where(y == 1, signs, -signs)], axis=1)
    hidden += rng.normal(0.0, 0.45, hidden.shape)
    noise: NDArray[np.float64] = rng.normal(0.0, NOISE, (len(y), len(COLUMNS)))
    return hidden @ _MIXING + noise
