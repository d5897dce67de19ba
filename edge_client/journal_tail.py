"""The newest lines of this machine's journal, as far as its owner lets them out.

Off unless edge.toml names units under [journal]. Lines are redacted, capped and told with their
age, and they leave only sealed, in reports to the coordinator.
"""

import logging
import socket
import subprocess
import time
from collections.abc import Sequence

import msgspec

from edge_client.config import Journal
from edge_client.redaction import MAX_LINE, redacted
from proto.resources import MAX_JOURNAL

KERNEL = "kernel"
READ_LINES = 40
PATIENCE = 2.0
"""Seconds journalctl is given: the box's one thread waits for it."""

logger = logging.getLogger("edge_client")


class _Entry(msgspec.Struct):
    """What is read of one line of `journalctl --output=json`; a message of bytes is no string."""

    message: object = msgspec.field(name="MESSAGE", default=None)
    stamp: str = msgspec.field(name="__REALTIME_TIMESTAMP", default="0")


def command(units: Sequence[str]) -> list[str]:
    """The call that lists the allowed units' newest lines, the newest first."""
    named = [f"--unit={unit}" for unit in units if unit != KERNEL]
    # Fields of different kinds must all match, of one kind any: `+` sets the kernel beside units.
    kernel = ["_TRANSPORT=kernel"] if KERNEL in units else []
    call = ["journalctl", "--quiet", "--no-pager", "--output=json", "--reverse"]
    call += ["--output-fields=MESSAGE", f"--lines={READ_LINES}"]
    if kernel and named:
        matches = [f"_SYSTEMD_UNIT={unit.removeprefix('--unit=')}" for unit in named]
        return [*call, *matches, "+", *kernel]
    return [*call, *named, *kernel]


def tail(settings: Journal) -> tuple[str, ...]:
    """At most MAX_JOURNAL lines as they may leave, the newest first; nothing where not allowed."""
    if not settings.units:
        return ()
    try:
        found = subprocess.run(
            command(settings.units), capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("no journal: %s", error)
        return ()
    if found.returncode:
        logger.warning("no journal: %s", found.stderr[:200].decode(errors="replace").strip())
    return told(found.stdout, settings, time.time())


def told(output: bytes, settings: Journal, now: float) -> tuple[str, ...]:
    """The lines of journalctl's output as they may leave. The same words are told once."""
    hide = (*settings.hide, socket.gethostname())
    lines: dict[str, str] = {}
    for raw in output.splitlines():
        if (entry := _entry(raw)) is None:
            continue
        stamp, message = entry
        if (text := redacted(message, hide)) and text not in lines:
            lines[text] = f"{_age(now - stamp)} ago: {text}"[:MAX_LINE].rstrip()
        if len(lines) == min(settings.lines, MAX_JOURNAL):
            break
    return tuple(lines.values())


def _entry(raw: bytes) -> tuple[float, str] | None:
    """Seconds since 1970 and text, or None for what is no entry with a text."""
    try:
        entry = msgspec.json.decode(raw, type=_Entry)
        stamp = float(entry.stamp) / 1e6
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return None
    return (stamp, entry.message) if isinstance(entry.message, str) else None


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
