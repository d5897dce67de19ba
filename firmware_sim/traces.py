"""Measured bandwidth traces, where the machine has them: QFLEET_TRACES names their folder.

They are never shipped. Without them, links fall back on their models (links.toml). A file is gzip
JSONL, one trace a line: {"name", "t_s", "mbps"}; they are read into means of SLOT_S seconds.
"""

import gzip
import os
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from proto.errors import ConfigError

FILES = {"oboe": "traces_oboe.jsonl.gz", "3g": "cooked_3gp.jsonl.gz"}
MAX_BYTES = 64 * 1024 * 1024
"""Unpacked, of one file."""
LEAST_POINTS = 6

SLOT_S = 10.0
"""Rates hold for so long, in traces and in models alike."""

Trace = tuple[float, ...]
"""Mbit/s, slot by slot."""


class _Row(Struct):
    name: str
    t_s: list[float]
    mbps: list[float]


def folder() -> Path | None:
    """Where the traces are, if anywhere."""
    named = os.environ.get("QFLEET_TRACES")
    return Path(named).expanduser() if named else None


@cache
def family(name: str) -> tuple[Trace, ...]:
    """The traces of one family; empty where there is none. Raises ConfigError for a broken one."""
    home = folder()
    if home is None or not name:
        return ()
    path = home / "bandwidth" / FILES[name]
    try:
        with gzip.open(path) as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ConfigError(f"{path} unpacks to more than {MAX_BYTES} bytes")
        rows = [msgspec.json.decode(line, type=_Row) for line in text.splitlines() if line]
    except (OSError, EOFError, msgspec.MsgspecError) as error:
        raise ConfigError(f"QFLEET_TRACES: {path} is no file of traces: {error}") from None
    return tuple(_slots(row) for row in rows if len(row.mbps) >= LEAST_POINTS)


def _slots(row: _Row) -> Trace:
    """Means by slot; a slot without a point has the one before it."""
    points: dict[int, list[float]] = {}
    for at, mbps in zip(row.t_s, row.mbps, strict=True):
        points.setdefault(int((at - row.t_s[0]) // SLOT_S), []).append(mbps)
    slots: list[float] = []
    for number in range(max(points) + 1):
        here = points.get(number)
        slots.append(sum(here) / len(here) if here else slots[-1])
    return tuple(slots)
