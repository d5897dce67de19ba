"""Waiting for what another process or thread does, by attempts: a machine that pauses uses none."""

import time
from collections.abc import Callable
from typing import TypeVar

LOOK = 0.02
PATIENCE = 60.0
"""Seconds that a thing may take which takes one on an idle machine."""
Value = TypeVar("Value")


def nap() -> None:
    time.sleep(LOOK)


def until(
    condition: Callable[[], Value],
    told: Callable[[], object] = str,
    limit: float = PATIENCE,
    *,
    meanwhile: Callable[[], object] = nap,
) -> Value:
    """Wait until something is true; its value. `told` explains when it never is.

    It is looked at once in each LOOK of `limit`, however long such a look takes.
    """
    for _ in range(round(limit / LOOK)):
        if value := condition():
            return value
        meanwhile()
    raise AssertionError(f"was never so in {limit / LOOK:.0f} looks: {told()}")
