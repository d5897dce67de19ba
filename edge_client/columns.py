"""A task's columns out of a box's table, by name; and rows without labels, for prediction."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.dataset import MAX_CELLS, MAX_FILE_BYTES, MAX_ROWS, load
from proto.errors import ConfigError

Float64s = NDArray[np.float64]


def choose(X: Float64s, columns: Sequence[str], wanted: Sequence[str]) -> Float64s:
    """X (rows, columns) with the wanted columns, in their order. Raises ConfigError."""
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ConfigError(f"no column {missing[0]!r} ({len(missing)} of {len(wanted)} missing)")
    return X[:, [list(columns).index(name) for name in wanted]]


def load_features(source: str, wanted: Sequence[str]) -> Float64s:
    """Rows to predict on: a .csv with (at least) the wanted columns, or any training source."""
    path = Path(source)
    if path.suffix != ".csv":
        table = load(source)
        return choose(table.X, table.columns, wanted)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{source}: larger than {MAX_FILE_BYTES} bytes")
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return parse(csv.DictReader(lines, strict=True), source, wanted)
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{source}: not a text table: {error}") from None


def parse(rows: "csv.DictReader[str]", source: str, wanted: Sequence[str]) -> Float64s:
    """Wanted columns of a table with a header row. Raises ConfigError naming line and column."""
    header = [name.strip() for name in rows.fieldnames or []]
    rows.fieldnames = header
    choose(np.empty((0, len(header))), header, wanted)
    numbers: list[list[float]] = []
    for row in rows:
        if len(numbers) >= min(MAX_ROWS, MAX_CELLS // len(wanted)):
            raise ConfigError(f"{source}: too many rows; split the file")
        numbers.append([_number(row.get(name), source, rows.line_num, name) for name in wanted])
    return np.array(numbers, np.float64).reshape(-1, len(wanted))


def _number(cell: str | None, source: str, line: int, column: str) -> float:
    try:
        number = float(cell or "")
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise ConfigError(f"{source} line {line} column {column!r}: {cell!r} is not a number")
    return number
