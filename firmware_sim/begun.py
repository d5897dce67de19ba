"""A decisions.jsonl that was begun before: whether it may be gone on with, and what it holds."""

import hashlib
from pathlib import Path

import msgspec

from coordinator.decisionsfile import line_of, read_decisions, read_header
from coordinator.selection.examples import Header
from proto.errors import ConfigError
from proto.files import write_whole

TOLD = {"teacher": "the teacher", "scenarios": "scenarios", "seed": "the first seed"}
"""What a header says that decides what its decisions are, in words for people."""


class _Named(msgspec.Struct):
    """Of a decision only this."""

    fleet: str


def short_digest(data: bytes) -> str:
    """To tell two versions of a file apart by eye."""
    return hashlib.sha256(data).hexdigest()[:12]


def begun(path: Path, header: Header) -> set[str]:
    """Fleets the file holds already; a new file gets its header.

    Raises ConfigError, and leaves the file as it was, where it is none of decisions or one that was
    begun otherwise: decisions of two teachers, or of one fleet twice, would stand in it.
    """
    if not path.exists() or not path.stat().st_size:
        write_whole(path, line_of(header))
        return set()
    known = read_header(path)
    for name, words in TOLD.items():
        there, here = getattr(known, name), getattr(header, name)
        if there != here:
            raise ConfigError(
                f"{path} was begun with {words} {_plain(there)}, and is now to go on with"
                f" {_plain(here)}; name another file, or ask for what it was begun with"
            )
    _forget_last_fleet(path)
    return {decision.fleet for decision in read_decisions(path)[1]}


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else f"{value}"


def _forget_last_fleet(path: Path) -> None:
    """An interruption may have left only some of its lines. Raises ConfigError."""
    lines = path.read_bytes().splitlines(keepends=True)
    head, *whole = [line for line in lines if line.endswith(b"\n")]
    names = [_name(path, number, line) for number, line in enumerate(whole, 2)]
    kept = [line for line, name in zip(whole, names, strict=True) if name != names[-1]]
    write_whole(path, b"".join([head, *kept]))


def _name(path: Path, number: int, line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_Named).fleet
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}, line {number}: {error}") from None
