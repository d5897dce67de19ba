"""A decisions.jsonl that was begun before: whether it may be gone on with, and what it holds."""

import hashlib
from pathlib import Path

import msgspec

from coordinator.decisionsfile import line_of, read_header
from coordinator.selection.examples import Decision, Header
from proto.errors import ConfigError
from proto.files import write_whole

TOLD = {"teacher": "the teacher", "scenarios": "scenarios", "seed": "the first seed"}
"""What a header says that decides what its decisions are, in words for people."""

ELSE = "name another file, or take this one away"
"""What to do about a file that cannot be gone on with."""


def short_digest(data: bytes) -> str:
    """To tell two versions of a file apart by eye."""
    return hashlib.sha256(data).hexdigest()[:12]


def begun(path: Path, header: Header) -> set[str]:
    """Fleets the file holds already; a new file, or one of blank lines, gets its header.

    Raises ConfigError, and leaves the file as it was, where it is none of decisions or one that was
    begun otherwise: decisions of two teachers, or of one fleet twice, would stand in it.
    """
    if _blank(path):
        write_whole(path, line_of(header))
        return set()
    try:
        known = read_header(path)
    except ConfigError as error:
        raise ConfigError(f"{error}; {ELSE}") from None
    for name, words in TOLD.items():
        there, here = getattr(known, name), getattr(header, name)
        if there != here:
            raise ConfigError(
                f"{path} was begun with {words} {_plain(there)}, and is now to go on with"
                f" {_plain(here)}; name another file, or ask for what it was begun with"
            )
    return _forget_last_fleet(path)


def _blank(path: Path) -> bool:
    """Whether nothing is lost where it is written over. Raises ConfigError."""
    if not path.exists():
        return True
    try:
        with path.open("rb") as file:
            return not any(map(bytes.strip, file))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; {ELSE}") from None


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else f"{value}"


def _forget_last_fleet(path: Path) -> set[str]:
    """An interruption may have left only some of its lines; which are left. Raises ConfigError."""
    with path.open("rb") as file:
        lines = [(number, line) for number, line in enumerate(file, 1) if line.strip()]
    (_, head), *rest = lines
    whole = [line for line in rest if line[1].endswith(b"\n")]
    names = [_fleet(path, *line) for line in whole]
    kept = [line for (_, line), name in zip(whole, names, strict=True) if name != names[-1]]
    write_whole(path, b"".join([head.rstrip() + b"\n", *kept]))
    return set(names) - set(names[-1:])


def _fleet(path: Path, number: int, line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=Decision).fleet
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}, line {number}: {error}; {ELSE}") from None
