"""A box's data set, from a file it owns or from scikit-learn's examples. Nothing here leaves it."""

import csv
import importlib
import io
import math
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto.errors import ConfigError

MAX_FILE_BYTES = 64 * 2**20
MAX_ROWS = 1_000_000
MAX_COLUMNS = 1024
MAX_CELLS = 2**23
"""Rows times columns: 64 MiB of float64."""

EXAMPLES = ("breast_cancer", "digits", "wine", "iris")


@dataclass(frozen=True, eq=False, slots=True)
class Table:
    """Samples with labels, as the source has them."""

    X: NDArray[np.float64]
    """(rows, columns)"""
    y: NDArray[np.int64]
    """(rows,): positions in `classes`."""
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    """The label names in this table; a box may hold fewer than its task has."""
    texts: tuple[str, ...] = ()
    """(rows,), where the table has a column of text."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Each row's label by name."""
        return tuple(self.classes[number] for number in self.y.tolist())


def load(source: str, target: str | None = None) -> Table:
    """Read `<path>.csv`, `<path>.npz`, `sklearn:<name>` or `sklearn:<name>:<class>,<class>`.

    csv: a header row, then numbers; `target` names the label's column, by default the last.
    npz: arrays X (rows, columns) and y (rows,). Raises ConfigError, saying what is wrong and where.
    """
    if source.startswith("sklearn:"):
        return _example(source.removeprefix("sklearn:"))
    path = Path(source)
    if path.suffix not in (".csv", ".npz"):
        raise ConfigError(f"{source}: a .csv or .npz file, or sklearn:<name>, is needed")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{source}: larger than {MAX_FILE_BYTES} bytes")
        if path.suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as lines:
                return _read_csv(source, csv.reader(lines, strict=True), target)
        return _read_npz(source, path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{source}: not a text table: {error}") from error


def encode(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Label names to positions in the task's classes. Raises ConfigError for a name not there."""
    position = {name: number for number, name in enumerate(classes)}
    if unknown := sorted(set(labels) - set(position)):
        known, row = ", ".join(classes), labels.index(unknown[0]) + 1
        raise ConfigError(
            f"label {unknown[0]!r} is not a class of the task: {known} (first in row {row})"
        )
    return np.array([position[label] for label in labels], np.int64)


def split(
    rows: int, seed: int, validation: float = 0.2, test: float = 0.0
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Row numbers to train, validate and test on; the same for the same seed.

    A share above 0 gets at least one row, and so does training. Raises ConfigError when they
    cannot.
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise ConfigError(f"shares of {validation} and {test} leave nothing to train on")
    validate, hold = (max(1, round(share * rows)) if share else 0 for share in (validation, test))
    if validate + hold >= rows:
        raise ConfigError(f"{rows} rows are too few to be split")
    order = np.random.default_rng(seed).permutation(rows)
    return order[validate + hold :], order[:validate], order[validate : validate + hold]


def _read_csv(source: str, rows: Iterator[list[str]], target: str | None) -> Table:
    header = [name.strip() for name in next(rows, [])]
    if len(header) < 2:  # noqa: PLR2004 - one feature and the label
        raise ConfigError(f"{source}: a header row of at least two columns is needed")
    if len(set(header)) != len(header):
        raise ConfigError(f"{source}: two columns have the same name")
    if target is not None and target not in header:
        raise ConfigError(f"{source}: no column {target!r}; there are {', '.join(header)}")
    at = len(header) - 1 if target is None else header.index(target)
    columns = (*header[:at], *header[at + 1 :])
    cells, labels = array("d"), []
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != len(header):
            raise ConfigError(f"{source} line {number}: {len(row)} cells, {len(header)} expected")
        labels.append(row.pop(at).strip())
        cells.extend(_numbers(f"{source} line {number}", columns, row))
        if not labels[-1]:
            raise ConfigError(f"{source} line {number}: no label in column {header[at]!r}")
        _check_size(source, len(labels), len(columns))
    X = np.frombuffer(cells, np.float64).reshape(len(labels), len(columns)).copy()
    return _table(source, X, labels, columns)


def _numbers(where: str, columns: tuple[str, ...], row: list[str]) -> Iterator[float]:
    for column, cell in zip(columns, row, strict=True):
        try:
            number = float(cell)
        except ValueError:
            raise ConfigError(f"{where} column {column!r}: {cell!r} is not a number") from None
        if not math.isfinite(number):
            raise ConfigError(f"{where} column {column!r}: {cell!r} is not finite")
        yield number


def _read_npz(source: str, data: bytes) -> Table:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            X, y = (_read_member(source, members, name) for name in ("X", "y"))
    except KeyError as error:
        raise ConfigError(f"{source}: arrays X and y are needed") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise ConfigError(f"{source}: not a whole .npz file: {error}") from error
    if X.ndim != 2 or y.shape != X.shape[:1] or X.dtype.kind not in "fiub":  # noqa: PLR2004
        raise ConfigError(f"{source}: X {X.shape} of {X.dtype} and y {y.shape} do not fit together")
    if y.dtype.kind not in "iubU":
        raise ConfigError(f"{source}: y holds {y.dtype}; whole numbers or text are needed")
    columns = tuple(f"x{number}" for number in range(X.shape[1]))
    return _table(source, X.astype(np.float64), [str(label) for label in y.tolist()], columns)


def _read_member(source: str, members: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array; what it will take is known from its headers before any of it is unpacked."""
    info = members.getinfo(f"{name}.npy")
    if info.file_size > MAX_FILE_BYTES:
        raise ConfigError(f"{source}: array {name} unpacks to more than {MAX_FILE_BYTES} bytes")
    with members.open(info) as packed:
        file = io.BytesIO(packed.read(MAX_FILE_BYTES))
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"array {name} has format {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size != len(file.getvalue()) - file.tell():
        raise ValueError(f"array {name} is shorter or longer than its header says")
    file.seek(0)
    member: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return member


def _example(source: str) -> Table:
    name, _, kept = source.partition(":")
    if name not in EXAMPLES:
        raise ConfigError(f"sklearn:{name}: there is {', '.join(EXAMPLES)}")
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        text = f"sklearn:{name} needs scikit-learn: pip install 'qfleet[demo]'"
        raise ConfigError(text) from error
    bunch = getattr(datasets, f"load_{name}")()
    table = Table(
        X=np.asarray(bunch.data, np.float64),
        y=np.asarray(bunch.target, np.int64),
        columns=tuple(map(str, bunch.feature_names)),
        classes=tuple(map(str, bunch.target_names)),
    )
    return _of_classes(table, tuple(kept.split(","))) if kept else table


def _of_classes(table: Table, classes: tuple[str, ...]) -> Table:
    """The rows of some classes alone. Raises ConfigError for a class that is not there."""
    if unknown := sorted(set(classes) - set(table.classes)):
        raise ConfigError(f"no class {unknown[0]!r}; there is {', '.join(table.classes)}")
    labels = np.array(table.labels)
    rows = np.flatnonzero(np.isin(labels, classes))
    return Table(table.X[rows], encode(labels[rows].tolist(), classes), table.columns, classes)


def _table(
    source: str, X: NDArray[np.float64], labels: list[str], columns: tuple[str, ...]
) -> Table:
    if not labels:
        raise ConfigError(f"{source}: there are no rows")
    _check_size(source, len(labels), len(columns))
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise ConfigError(f"{source} row {row} column {columns[column]!r}: not finite")
    classes = class_names(labels)
    return Table(X, encode(labels, classes), columns, classes)


def _check_size(source: str, rows: int, columns: int) -> None:
    if not 1 <= columns <= MAX_COLUMNS:
        raise ConfigError(f"{source}: {columns} columns; 1 to {MAX_COLUMNS} are accepted")
    if rows > MAX_ROWS or rows * columns > MAX_CELLS:
        raise ConfigError(f"{source}: more than {MAX_ROWS} rows or {MAX_CELLS} cells")


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Each label once, whole numbers in their own order and first."""
    return tuple(sorted(set(labels), key=_natural))


def _natural(label: str) -> tuple[int, str]:
    """Whole numbers in their own order, before other labels in theirs."""
    return (int(label), label) if label.isdecimal() and len(label) < 19 else (2**63, label)  # noqa: PLR2004
