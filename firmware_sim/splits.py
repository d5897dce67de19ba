"""Private rows for emulated boxes: a data set dealt out, with a test split kept back.

Four ways to deal, as `deal` names them: evenly, by a Dirichlet draw, by class, by size.
"""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.dataset import Table
from proto.errors import ConfigError

MIN_ROWS = 20
"""Rows a box holds at least: sums over fewer are never sent."""
MAX_DRAWS = 200
"""Dirichlet draws before the last one is topped up."""
SHARDS = 2
"""Pieces of the rows sorted by class that a box gets, as in McMahan et al. 2017."""

Labels = NDArray[np.int64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """Row numbers of each box's share, and of the test rows (by box: the same proportions)."""

    boxes: tuple[Rows, ...]
    test: tuple[Rows, ...]


def deal(how: str, y: Labels, boxes: int, seed: int) -> Split:
    """The split that `how` names: iid, dirichlet:<alpha>, class or size. Raises ConfigError."""
    kind, _, alpha = how.partition(":")
    if kind == "dirichlet":
        try:
            spread = float(alpha)
        except ValueError:
            spread = -1.0
        if not 0 < spread < float("inf"):
            raise ConfigError(f"{how!r} needs a number above 0: dirichlet:0.5")
        return dirichlet(y, boxes, spread, seed)
    if how not in DEALS:
        known = ", ".join(sorted(DEALS))
        raise ConfigError(f"rows are dealt by dirichlet:<alpha>, {known}, not by {how!r}")
    return DEALS[how](y, boxes, seed)


def dirichlet(y: Labels, boxes: int, alpha: float, seed: int, test: float = 0.25) -> Split:
    """Non-IID by label and size: each class is dealt by a draw from Dirichlet(alpha).

    (Yurochkin et al. 2019.) Draws that leave a box with fewer than MIN_ROWS are drawn again, up to
    MAX_DRAWS; then boxes with too few take rows from the largest, of their own commonest class
    while it has any. Raises ConfigError where there are not enough rows for all.
    """
    rng = np.random.default_rng(seed)
    held, dealt = _hold_back(y, boxes, test, rng)
    parts: list[Rows] = []
    for _ in range(MAX_DRAWS):
        shares = rng.dirichlet([alpha] * boxes, size=int(y.max()) + 1)
        parts = _by_shares(dealt, y, shares)
        if min(map(len, parts)) >= MIN_ROWS:
            return Split(tuple(parts), tuple(_by_shares(held, y, shares)))
    parts = _topped_up(parts, y)
    return Split(tuple(parts), _alike(held, y, parts))


def iid(y: Labels, boxes: int, seed: int, test: float = 0.25) -> Split:
    """Rows in any order, as many for each box. Raises ConfigError."""
    held, dealt = _hold_back(y, boxes, test, np.random.default_rng(seed))
    return _cut(y, held, np.array_split(dealt, boxes))


def by_class(y: Labels, boxes: int, seed: int, test: float = 0.25) -> Split:
    """Each box holds few classes: SHARDS pieces of the rows sorted by class. Raises ConfigError."""
    rng = np.random.default_rng(seed)
    held, dealt = _hold_back(y, boxes, test, rng)
    pieces = np.array_split(dealt[np.argsort(y[dealt], kind="stable")], SHARDS * boxes)
    order = rng.permutation(len(pieces)).reshape(boxes, SHARDS)
    return _cut(y, held, [np.concatenate([pieces[i] for i in own]) for own in order])


def by_size(y: Labels, boxes: int, seed: int, test: float = 0.25) -> Split:
    """The same mix of classes everywhere, but box k holds about 1/k of the first one's rows.

    MIN_ROWS come first; Zipf's law shares out the rest. Raises ConfigError.
    """
    held, dealt = _hold_back(y, boxes, test, np.random.default_rng(seed))
    shares = 1 / np.arange(1, boxes + 1)
    spare = np.cumsum(shares / shares.sum()) * (len(dealt) - MIN_ROWS * boxes)
    cuts = MIN_ROWS * np.arange(1, boxes) + np.round(spare[:-1]).astype(int)
    return _cut(y, held, np.split(dealt, cuts))


DEALS: dict[str, Callable[[Labels, int, int], Split]] = {
    "iid": iid,
    "class": by_class,
    "size": by_size,
}


def _hold_back(y: Labels, boxes: int, test: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Test rows, and the rows to deal, of which each box can have MIN_ROWS."""
    held, dealt = np.split(rng.permutation(len(y)), [round(test * len(y))])
    if boxes * MIN_ROWS > len(dealt):
        most = len(dealt) // MIN_ROWS
        raise ConfigError(f"{len(dealt)} rows are enough for {most} boxes of {MIN_ROWS} rows")
    return held, dealt


def _by_shares(rows: Rows, y: Labels, shares: NDArray[np.float64]) -> list[Rows]:
    """Rows to boxes; shares (classes, boxes) sum to 1 in each class."""
    parts: list[list[Rows]] = [[] for _ in range(shares.shape[1])]
    for label, share in enumerate(shares):
        of_class = rows[y[rows] == label]
        cuts = np.round(np.cumsum(share)[:-1] * len(of_class)).astype(int)
        for part, piece in zip(parts, np.split(of_class, cuts), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def _topped_up(parts: list[Rows], y: Labels) -> list[Rows]:
    """The same parts, none below MIN_ROWS."""
    piles = [part.tolist() for part in parts]
    while len(needy := min(piles, key=len)) < MIN_ROWS:
        largest = max(piles, key=len)
        common = np.bincount(y[needy]).argmax() if needy else y[largest[-1]]
        liked = [at for at, row in enumerate(largest) if y[row] == common]
        needy.append(largest.pop(liked[-1] if liked else -1))
    return [np.array(pile, np.intp) for pile in piles]


def _cut(y: Labels, held: Rows, parts: Iterable[Rows]) -> Split:
    boxes = tuple(parts)
    return Split(boxes, _alike(held, y, boxes))


def _alike(held: Rows, y: Labels, boxes: Iterable[Rows]) -> tuple[Rows, ...]:
    """Test rows dealt so that each box has its own share of each class there, too."""
    classes = int(y.max()) + 1
    counts = np.array([np.bincount(y[rows], minlength=classes) for rows in boxes])
    shares = counts.T / np.maximum(counts.sum(axis=0), 1)[:, None]
    return tuple(_by_shares(held, y, shares))


def write_csv(path: Path, table: Table, rows: Rows, target: str) -> None:
    """A box's own file: the table's columns, and its labels by name in the last one."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*table.columns, target])
        labels = table.labels
        for row in rows:
            writer.writerow([*map(repr, table.X[row].tolist()), labels[row]])
