"""A decisions.jsonl: written line by line by a teacher, read line by line by students."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from coordinator.selection.examples import MAX_SCENARIOS, Decision, Header
from proto.errors import ConfigError

MAX_LINE = 16 * 2**20
"""Bytes."""


def read_decisions(path: Path) -> tuple[Header, Iterator[Decision]]:
    """Header, and the decisions one at a time. Raises ConfigError that names the line."""
    lines = read_lines(path)  # opened once: a pipe can be read no second time
    header = _header(path, lines)
    return header, (decoded(path, line, Decision) for line in lines)


def read_all(paths: Sequence[Path]) -> tuple[Header, Iterator[Decision]]:
    """Several files, one after the other, as if they were one. Raises ConfigError."""
    headers, parts = zip(*map(read_decisions, paths), strict=True)
    first = headers[0]
    for path, header in zip(paths, headers, strict=True):
        if header.steps != first.steps:
            text = f"{path}: its classes of steps are {header.steps}, {first.steps} in {paths[0]}"
            raise ConfigError(text)
    teachers = "; ".join(dict.fromkeys(header.teacher for header in headers))
    scenarios = dict.fromkeys(name for header in headers for name in header.scenarios)
    header = replace(first, teacher=teachers[:200], scenarios=tuple(scenarios)[:MAX_SCENARIOS])
    return header, chain.from_iterable(parts)


def write_decisions(path: Path, header: Header, decisions: Iterable[Decision]) -> None:
    """The whole file. A teacher that may be interrupted appends `line_of` itself."""
    with path.open("wb") as file:
        file.write(line_of(header))
        file.writelines(map(line_of, decisions))


def line_of(value: Header | Decision) -> bytes:
    return msgspec.json.encode(value) + b"\n"


Line = tuple[int, bytes]
T = TypeVar("T", Header, Decision)


def _header(path: Path, lines: Iterator[Line]) -> Header:
    head = next(lines, None)
    if head is None:
        raise ConfigError(f"{path} is empty; it should begin with a header")
    return decoded(path, head, Header)


def read_lines(path: Path) -> Iterator[Line]:
    """Those that are not blank, each with its number and its end. Raises ConfigError."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    number = 0
    with file:
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise ConfigError(f"{path}, line {number}: longer than {MAX_LINE} bytes")
            if line.strip():
                yield number, line


def decoded(path: Path, line: Line, kind: type[T]) -> T:
    """Raises ConfigError that names the line."""
    number, data = line
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        text = str(error).replace("`$.", "`")
        raise ConfigError(f"{path}, line {number}: {text}") from None
