"""A decisions.jsonl that was begun before: whether it may be gone on with, and what it holds."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG

from coordinator.decisionsfile import Line, decoded, line_of, read_lines
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
    with _advised():
        lines = _lines(path)
        head = next(lines, None)
    if head is None:
        write_whole(path, line_of(header))
        return set()
    with _advised():
        known = decoded(path, head, Header)
    for name, words in TOLD.items():
        there, here = getattr(known, name), getattr(header, name)
        if there != here:
            raise ConfigError(
                f"{path} was begun with {words} {_plain(there)}, and is now to go on with"
                f" {_plain(here)}; name another file, or ask for what it was begun with"
            )
    with _advised():
        return _forget_last_fleet(path, head, lines)


@contextmanager
def _advised() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{error}; {ELSE}") from None


def _lines(path: Path) -> Iterator[Line]:
    """None of a file that is not there. Raises ConfigError for what is read to no end, or never."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return iter(())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if not S_ISREG(mode):
        raise ConfigError(f"{path} is no regular file")
    return read_lines(path)


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else f"{value}"


def _forget_last_fleet(path: Path, head: Line, lines: Iterator[Line]) -> set[str]:
    """An interruption may have left only some of its lines; which are left. Raises ConfigError."""
    whole = [line for line in lines if line[1].endswith(b"\n")]
    names = [decoded(path, line, Decision).fleet for line in whole]
    kept = [line for (_, line), name in zip(whole, names, strict=True) if name != names[-1]]
    write_whole(path, b"".join([head[1].rstrip() + b"\n", *kept]))
    return set(names) - set(names[-1:])
