"""A scaler and a PCA for the whole fleet, from sums alone: no row leaves a box.

Box: `measure` its rows. Coordinator: `init`, `add` each box's moments, `finish` to a `FeatureMap`
that equals StandardScaler -> PCA -> StandardScaler fitted on all rows together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, BadArrays, Layout

Float64s = NDArray[np.float64]

MIN_ROWS = 20
"""Fewest rows a box may summarise: the moments of fewer say too much about each row."""

MAX_ROWS = 10_000_000
MAX_COLUMNS = 128
"""Their moments are 67 KB: one publish."""

MAX_CELL = 1e15
"""Largest magnitude of a cell; beyond it second moments lose all meaning in float64."""

SCALE = 2**1074
"""Every float64 is a whole number of 1 / SCALE."""

CONSTANT = 1e-11
"""A column whose variance is below this share of its squared mean counts as constant: what is left
of it is the rounding of float64 products."""

RIDGE = 0.5
"""Added to the correlations' diagonal where classes are told apart: few rows give many columns
chance differences. On boards' journals, 0.1 to 2 gave 0.75 to 0.73 on test rows."""
TELLING = 1e-6
"""Directions with less correlation with any class tell nothing."""

TINY = 1e-60
"""Variances below it count as none, whatever the mean: float32 could not hold their scale."""


@dataclass(frozen=True, eq=False, slots=True)
class Moments:
    """One box's sums over its rows."""

    count: int
    sum: Float64s
    """(d,)"""
    product: Float64s
    """(d * (d + 1) / 2,): sums of x_i * x_j, upper triangle, row by row."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """Sums over all boxes so far, in whole numbers of 1 / SCALE."""

    columns: int
    count: int
    sum: tuple[int, ...]
    product: tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class FeatureMap:
    """The affine map from a box's columns to a model's features."""

    shift: Array
    """(d,)"""
    matrix: Array
    """(d, k)"""

    def apply(self, X: Float64s) -> Array:
        """Features, float32 (rows, k), of rows (rows, d). Raises BadArrays on other columns."""
        if X.ndim != 2 or X.shape[1] != self.shift.size:  # noqa: PLR2004
            raise BadArrays(f"rows of shape {X.shape}; (rows, {self.shift.size}) was agreed")
        features = (X - self.shift.astype(np.float64)) @ self.matrix.astype(np.float64)
        if not (np.abs(features) <= np.finfo(np.float32).max).all():
            raise BadArrays("a feature is NaN, infinite or too large")
        return features.astype(np.float32)

    def arrays(self) -> dict[str, Array]:
        """The map as named arrays of `feature_layout`."""
        return {"shift": self.shift, "matrix": self.matrix}


def feature_layout(columns: int, components: int) -> Layout:
    """Layout of a feature map from d columns to k components."""
    return (("shift", (columns,)), ("matrix", (columns, components)))


def feature_map(arrays: Mapping[str, Array]) -> FeatureMap:
    """The map that `FeatureMap.arrays` named."""
    return FeatureMap(arrays["shift"], arrays["matrix"])


def measure(X: Float64s, labels: int = 0) -> Moments:
    """Moments of float64 rows (rows, d), the first `labels` columns of which say their class.

    Raises BadArrays for fewer than MIN_ROWS rows in all or of a class that there is, and for NaN,
    infinite or huge cells.
    """
    if X.ndim != 2 or not 1 <= X.shape[1] <= MAX_COLUMNS:  # noqa: PLR2004
        raise BadArrays(f"rows of shape {X.shape}; 1 to {MAX_COLUMNS} columns are accepted")
    if not MIN_ROWS <= len(X) <= MAX_ROWS:
        raise BadArrays(f"{len(X)} rows; {MIN_ROWS} to {MAX_ROWS} may be summarised")
    X = X.astype(np.float64, copy=False)
    if not (np.abs(X) <= MAX_CELL).all():
        raise BadArrays(f"a cell is NaN, infinite or beyond {MAX_CELL:g}")
    check_classes(X[:, :labels].sum(axis=0))
    return Moments(len(X), X.sum(axis=0), (X.T @ X)[np.triu_indices(X.shape[1])])


def check_classes(counts: NDArray[Any]) -> None:
    """Raise BadArrays unless of each class there are no rows or MIN_ROWS: it tells not how many."""
    if ((counts > 0) & (counts < MIN_ROWS)).any():
        raise BadArrays(f"too few rows of a class: sums by class take none or {MIN_ROWS} of each")


def moments_to_bytes(moments: Moments) -> bytes:
    """Rows as 4 bytes, then sums and products as float64, all little-endian."""
    numbers = np.concatenate([moments.sum, moments.product])
    return moments.count.to_bytes(4, "little") + numbers.astype("<f8").tobytes()


def moments_from_bytes(data: bytes, columns: int, labels: int = 0) -> Moments:
    """Moments in bytes from anybody, the first `labels` columns saying classes.

    Raises BadArrays where no rows could have such moments.
    """
    if not 1 <= columns <= MAX_COLUMNS:
        raise BadArrays(f"{columns} columns; 1 to {MAX_COLUMNS} are accepted")
    expected = 4 + 8 * (columns + columns * (columns + 1) // 2)
    if len(data) != expected:
        raise BadArrays(f"{len(data)} bytes; moments of {columns} columns take {expected}")
    count = int.from_bytes(data[:4], "little")
    if not MIN_ROWS <= count <= MAX_ROWS:
        raise BadArrays(f"moments of {count} rows; {MIN_ROWS} to {MAX_ROWS} may be summarised")
    numbers = np.frombuffer(data, "<f8", offset=4).astype(np.float64)
    moments = Moments(count, numbers[:columns], numbers[columns:])
    _check_plausible(moments)
    if labels:
        _check_labels(moments, labels)
    return moments


def init(columns: int) -> Pooled:
    """No box yet."""
    if not 1 <= columns <= MAX_COLUMNS:
        raise BadArrays(f"{columns} columns; 1 to {MAX_COLUMNS} are accepted")
    return Pooled(columns, 0, (0,) * columns, (0,) * (columns * (columns + 1) // 2))


def add(pooled: Pooled, moments: Moments) -> Pooled:
    """One box more.

    Whole numbers, since float64 addition depends on the order, and boxes arrive in any: the map
    would differ between a run and its replay. Raises BadArrays for other columns.
    """
    if moments.sum.shape != (pooled.columns,) or moments.product.shape != (len(pooled.product),):
        raise BadArrays(f"moments of {moments.sum.size} columns; {pooled.columns} were agreed")
    return Pooled(
        pooled.columns,
        pooled.count + moments.count,
        tuple(a + b for a, b in zip(pooled.sum, _whole(moments.sum), strict=True)),
        tuple(a + b for a, b in zip(pooled.product, _whole(moments.product), strict=True)),
    )


def finish(pooled: Pooled, components: int, labels: int = 0) -> FeatureMap:
    """The fleet's map to k components, each of mean 0 and variance 1 over all rows.

    The first `labels` columns say a row's class (1 for its own, else 0). Where there are any, the
    first components are those that a ridge regression on the standardised others tells classes by,
    the discriminants of Fisher (1936), and principal components of what is left follow; they
    weigh nothing themselves.

    A component's largest loading is positive, since an eigenvector's sign is arbitrary. Constant
    columns weigh nothing; components without variance are 0. Raises BadArrays for no rows, or for
    more components than columns.
    """
    if pooled.count < MIN_ROWS:
        raise BadArrays(f"{pooled.count} rows in all; at least {MIN_ROWS} are needed")
    if not 1 <= components <= pooled.columns - labels:
        raise BadArrays(f"{components} components; 1 to {pooled.columns - labels} are possible")
    mean, covariance = _mean_covariance(pooled)
    variance = covariance.diagonal()
    moving = variance > np.maximum(CONSTANT * mean**2, TINY)
    inverse = np.where(moving, 1 / np.sqrt(np.where(moving, variance, 1.0)), 0.0)
    whole = covariance * np.outer(inverse, inverse)
    try:
        values, vectors = _directions(whole[labels:, labels:], whole[labels:, :labels], components)
    except np.linalg.LinAlgError:
        raise BadArrays("sums of columns that no map can be made from") from None
    vectors = np.concatenate([np.zeros((labels, components)), vectors])
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(components)]
    spread = values > CONSTANT * pooled.columns
    weights = np.where(spread, np.sign(largest) / np.sqrt(np.where(spread, values, 1.0)), 0.0)
    matrix = inverse[:, None] * vectors * weights
    return FeatureMap(mean.astype(np.float32), matrix.astype(np.float32))


def _directions(own: Float64s, toward: Float64s, components: int) -> tuple[Float64s, Float64s]:
    """Variances (k,) along unit vectors (d, k), by correlations (d, d), and those with classes.

    First those that tell the classes apart, then principal components of what is left.
    """
    told = np.zeros((len(own), 0))
    if toward.shape[1]:
        values, vectors = np.linalg.eigh(own)
        # Forged sums may come to variances below 0.
        shrunk = (vectors / (np.maximum(values, 0.0) + RIDGE)) @ vectors.T @ toward
        told, size, _ = np.linalg.svd(shrunk, full_matrices=False)
        told = told[:, size > TELLING]
    left = np.eye(len(own)) - told @ told.T
    values, vectors = np.linalg.eigh(left @ own @ left)
    values = np.concatenate([((own @ told) * told).sum(axis=0), values[::-1]])
    return values[:components], np.concatenate([told, vectors[:, ::-1]], axis=1)[:, :components]


def _whole(numbers: Float64s) -> list[int]:
    ratios = (number.as_integer_ratio() for number in numbers.tolist())
    return [top * (SCALE // bottom) for top, bottom in ratios]


def _mean_covariance(pooled: Pooled) -> tuple[Float64s, Float64s]:
    """Differences are taken in whole numbers, where nothing cancels, and only then rounded."""
    d, n = pooled.columns, pooled.count
    mean = np.array([total / (n * SCALE) for total in pooled.sum])
    covariance = np.empty((d, d))
    for i, j, product in zip(*np.triu_indices(d), pooled.product, strict=True):
        top = n * SCALE * product - pooled.sum[i] * pooled.sum[j]
        covariance[i, j] = covariance[j, i] = top / (n * SCALE) ** 2
    return mean, covariance


def _check_plausible(moments: Moments) -> None:
    """Bounds, and no variance below zero by more than rounding: nonsense would spoil the map."""
    limit = moments.count * MAX_CELL * (1 + 1e-9)  # sums of honest rows round, too
    if not (np.abs(moments.sum) <= limit).all():
        raise BadArrays("a sum is NaN, infinite or too large")
    if not (np.abs(moments.product) <= limit * MAX_CELL).all():
        raise BadArrays("a product is NaN, infinite or too large")
    d = moments.sum.size
    row, column = np.triu_indices(d)
    squares = moments.product[row == column]
    if (moments.count * squares < moments.sum**2 * (1 - 1e-9) - TINY).any():
        raise BadArrays("a column's sum of squares is too small for its sum")
    bound = np.sqrt(np.maximum(squares[row] * squares[column], 0.0))
    if (np.abs(moments.product) > bound * (1 + 1e-9) + TINY).any():
        raise BadArrays("a product is larger than its columns allow")


def _check_labels(moments: Moments, labels: int) -> None:
    """Each row has one class: so sums by class are counts, and add up to what all rows come to."""
    counts, d = moments.sum[:labels], moments.sum.size
    check_classes(counts)
    table = np.zeros((d, d))
    table[np.triu_indices(d)] = moments.product
    own, others = table[:labels, :labels], table[:labels, labels:]
    whole = (counts == np.round(counts)).all() and counts.sum() == moments.count
    if not whole or (counts < 0).any() or (own != np.diag(counts)).any():
        raise BadArrays("sums by class that are no counts of rows")
    spread = np.sqrt(np.maximum(moments.count * table.diagonal()[labels:], 0.0))
    if (np.abs(others.sum(axis=0) - moments.sum[labels:]) > 1e-6 * spread + TINY).any():
        raise BadArrays("sums by class that do not add up to the sums of all rows")
