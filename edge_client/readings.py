"""The board's numbers, as far as the board tells them (psutil; nothing is guessed)."""

from collections.abc import Callable
from pathlib import Path

import psutil

from proto.messages import Resources

MIB = 1024 * 1024


FRESH = 5.0
"""Seconds a reading is good for: sensors change slowly and are slow to read."""


class Board:
    """Reads the board, not more often than every FRESH seconds."""

    def __init__(self, home: Path, note: str, now: Callable[[], float]) -> None:
        self._home, self._note, self._now = home, note, now
        self._at = -FRESH
        self._last = Resources()

    def read(self) -> Resources:
        if self._now() >= self._at + FRESH:
            self._at, self._last = self._now(), read(self._home, self._note)
        return self._last


def read(home: Path, note: str) -> Resources:
    """One reading. Cheap: no waiting for a load interval."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return Resources(
        battery=None if battery is None else round(min(100, max(0, battery.percent))),
        charging=None if battery is None else bool(battery.power_plugged),
        ram_free_mib=psutil.virtual_memory().available // MIB,
        cpu_load=min(100, round(100 * psutil.getloadavg()[0] / (psutil.cpu_count() or 1))),
        temperature_c=_temperature(),
        disk_free_mib=psutil.disk_usage(str(home)).free // MIB,
        note=note,
    )


def _temperature() -> int | None:
    """The hottest sensor, in degrees Celsius."""
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    values = [round(s.current) for group in sensors.values() for s in group if s.current]
    return max((v for v in values if -100 <= v <= 300), default=None)  # noqa: PLR2004
