"""Text tables: a .csv, .tsv or .jsonl file with a column of text beside numbers and labels."""

import csv
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from edge_client.dataset import MAX_CELLS, MAX_FILE_BYTES, MAX_ROWS, Table, class_names, encode
from proto.errors import ConfigError

MAX_LINE = 64 * 1024
"""Characters in one line: a line that long is no message and no log line."""
MAX_TEXT = 8192
"""Characters of one row's text."""

MAX_TEXTS = 16 * 2**20
"""Characters of all texts together."""
LABEL = "label"
"""The column of class names, unless the box names another."""

Cells = dict[str, object]


class _Tabs(csv.excel_tab):
    """Quotes are letters like others: messages are full of them."""

    quoting = csv.QUOTE_NONE


def load(source: str, target: str | None, text: str, columns: Sequence[str]) -> Table:
    """Rows with a text, the wanted columns and a label. Raises ConfigError, naming the line."""
    labels: list[str] = []
    texts: list[str] = []
    cells = array("d")
    for number, row in read(source, text):
        where = f"{source} line {number}"
        texts.append(text_of(where, row, text))
        labels.append(label_of(where, row, target or LABEL))
        cells.extend(numbers_of(where, row, columns))
        if len(labels) > MAX_ROWS or len(cells) > MAX_CELLS:
            raise ConfigError(f"{source}: more than {MAX_ROWS} rows or {MAX_CELLS} cells")
    if not labels:
        raise ConfigError(f"{source}: there are no rows")
    if sum(map(len, texts)) > MAX_TEXTS:
        raise ConfigError(f"{source}: more than {MAX_TEXTS} characters of text; split the file")
    X = np.frombuffer(cells, np.float64).reshape(len(labels), len(columns)).copy()
    classes = class_names(labels)
    return Table(X, encode(labels, classes), tuple(columns), classes, tuple(texts))


def read(source: str, text: str) -> Iterator[tuple[int, Cells]]:
    """`rows` of a file on disk."""
    path = Path(source)
    if path.suffix not in (".csv", ".tsv", ".jsonl"):
        raise ConfigError(f"{source}: a .csv, .tsv or .jsonl file with a column {text!r} is needed")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{source}: larger than {MAX_FILE_BYTES} bytes")
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from rows(source, path.suffix, file, text)
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{source}: not a text table: {error}") from error


def rows(source: str, suffix: str, file: IO[str], text: str) -> Iterator[tuple[int, Cells]]:
    """Line number and cells by column of each row. Raises ConfigError, naming the line.

    A .tsv of two columns and no header is read as label and text, as public collections have it.
    """
    lines = _bounded(source, file)
    if suffix == ".jsonl":
        yield from _objects(source, lines)
        return
    dialect = csv.excel if suffix == ".csv" else _Tabs
    table = csv.reader(lines, dialect)
    first = next(table, [])
    header = [name.strip() for name in first]
    if text not in header and suffix == ".tsv" and len(header) == 2:  # noqa: PLR2004
        header = ["label", text]
        yield 1, dict(zip(header, first, strict=True))
    if text not in header:
        raise ConfigError(f"{source}: no column {text!r}; there are {', '.join(header)}")
    if len(set(header)) != len(header):
        raise ConfigError(f"{source}: two columns have the same name")
    for cells in table:
        if len(cells) not in (0, len(header)):
            where = f"{source} line {table.line_num}"
            raise ConfigError(f"{where}: {len(cells)} cells, {len(header)} expected")
        if cells:
            yield table.line_num, dict(zip(header, cells, strict=True))


def text_of(where: str, cells: Cells, column: str) -> str:
    """A row's text. Raises ConfigError where it is missing, empty or too long."""
    value = cells.get(column)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where}: no text in column {column!r}")
    if len(value) > MAX_TEXT:
        raise ConfigError(f"{where}: a text of {len(value)} characters; {MAX_TEXT} are accepted")
    return value


def label_of(where: str, cells: Cells, column: str) -> str:
    value = cells.get(column)
    label = str(value).strip() if isinstance(value, str | int) else ""
    if not label:
        raise ConfigError(f"{where}: no label in column {column!r}")
    return label


def numbers_of(where: str, cells: Cells, columns: Sequence[str]) -> "array[float]":
    """A row's numbers, in the columns' order. Raises ConfigError for what is none."""
    numbers = array("d")
    for column in columns:
        value = cells.get(column, "")
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise ConfigError(f"{where} column {column!r}: {value!r} is not a number")
        numbers.append(number)
    return numbers


def _objects(source: str, lines: Iterable[str]) -> Iterator[tuple[int, Cells]]:
    decoder = msgspec.json.Decoder(dict[str, str | float | int | bool | None])
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, dict(decoder.decode(line))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ConfigError(f"{source} line {number}: not a JSON object: {error}") from None


def _bounded(source: str, file: IO[str]) -> Iterator[str]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            where = f"{source} line {number}"
            raise ConfigError(f"{where}: longer than {MAX_LINE} characters; no line break?")
        yield line
