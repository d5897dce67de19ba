"""Private rows for emulated boxes: a data set cut up unevenly, with a test split kept back."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.dataset import Table
from proto.errors import ConfigError

MIN_ROWS = 20
"""Rows a box holds at least: sums over fewer are never sent."""
MAX_DRAWS = 10_000


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """Row numbers of each box's share, and of the test rows (by box: the same proportions)."""

    boxes: tuple[NDArray[np.intp], ...]
    test: tuple[NDArray[np.intp], ...]


def dirichlet(
    y: NDArray[np.int64], boxes: int, alpha: float, seed: int, test: float = 0.25
) -> Split:
    """Non-IID by label (Hsu et al. 2019): each class is dealt by a draw from Dirichlet(alpha).

    Draws that leave a box with fewer than MIN_ROWS are drawn again. Raises ConfigError when that
    cannot be.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    held, dealt = np.split(order, [round(test * len(y))])
    if boxes * MIN_ROWS > len(dealt):
        most = len(dealt) // MIN_ROWS
        raise ConfigError(f"{len(dealt)} rows are enough for {most} boxes of {MIN_ROWS} rows")
    for _ in range(MAX_DRAWS):
        shares = rng.dirichlet([alpha] * boxes, size=int(y.max()) + 1)
        parts = _deal(dealt, y, shares)
        if min(map(len, parts)) >= MIN_ROWS:
            return Split(tuple(parts), tuple(_deal(held, y, shares)))
    raise ConfigError(f"no draw gives {boxes} boxes {MIN_ROWS} rows each; take fewer boxes")


def _deal(
    rows: NDArray[np.intp], y: NDArray[np.int64], shares: NDArray[np.float64]
) -> list[NDArray[np.intp]]:
    parts: list[list[NDArray[np.intp]]] = [[] for _ in range(shares.shape[1])]
    for label, share in enumerate(shares):
        of_class = rows[y[rows] == label]
        cuts = np.round(np.cumsum(share)[:-1] * len(of_class)).astype(int)
        for part, piece in zip(parts, np.split(of_class, cuts), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def write_csv(path: Path, table: Table, rows: NDArray[np.intp], target: str) -> None:
    """A box's own file: the table's columns, and its labels by name in the last one."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*table.columns, target])
        labels = table.labels
        for row in rows:
            writer.writerow([*map(repr, table.X[row].tolist()), labels[row]])
