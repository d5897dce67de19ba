"""How long this box's last job waited for its quantum computer; one process tells another."""

import math
import time
from contextlib import suppress
from pathlib import Path

from proto.errors import StorageError
from proto.files import write_whole

FRESH = 6 * 3600.0
"""Seconds after which a queue may be another one."""
NAME = "qpu_queue"


def note(home: Path, seconds: float) -> None:
    """Leave it in the box's folder for the agent."""
    with suppress(StorageError):  # a full disk is told by what matters more
        write_whole(home / NAME, f"{seconds:.1f}".encode(), durable=False)


def noted(home: Path) -> int | None:
    """Seconds, where a job ran of late."""
    path = home / NAME
    try:
        if time.time() > path.stat().st_mtime + FRESH:
            return None
        waited = float(path.read_text()[:20])
    except (OSError, ValueError):
        return None
    return min(round(waited), 2**31) if math.isfinite(waited) and waited >= 0 else None
