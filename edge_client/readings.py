"""The board's numbers, as far as the board tells them (psutil; nothing is guessed)."""

from collections.abc import Callable
from pathlib import Path

import psutil

from edge_client.config import EdgeConfig
from edge_client.journal_tail import tail
from edge_client.qpu_queue import noted
from proto.messages import Resources
from proto.tcp_info import Link

MIB = 1024 * 1024
NO_LINK = Link()

FRESH = 5.0
"""Seconds a reading is good for: sensors change slowly and are slow to read."""
JOURNAL_FRESH = 60.0


class Board:
    """Reads the board, not more often than every FRESH seconds, its journal still less often."""

    def __init__(self, home: Path, config: EdgeConfig, now: Callable[[], float]) -> None:
        self._home, self._config, self._now = home, config, now
        self._at, self._journal_at = -FRESH, -JOURNAL_FRESH
        self._last = Resources()
        self._journal: tuple[str, ...] = ()
        self.link: Callable[[], Link] = Link
        """Asked for what the connection to the broker has shown; set once there is one."""

    def read(self) -> Resources:
        now = self._now()
        if now >= self._journal_at + JOURNAL_FRESH:
            self._journal_at, self._journal = now, tail(self._config.journal)
        if now >= self._at + FRESH:
            self._at = now
            self._last = read(self._home, self._config.note, self._journal, self.link())
        return self._last


def read(home: Path, note: str, journal: tuple[str, ...] = (), link: Link = NO_LINK) -> Resources:
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
        link_kbps=link.kbps,
        link_loss=link.loss_percent,
        qpu_queue_s=noted(home),
        journal=journal,
    )


def _temperature() -> int | None:
    """The hottest sensor, in degrees Celsius."""
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    values = [round(s.current) for group in sensors.values() for s in group if s.current]
    return max((v for v in values if -100 <= v <= 300), default=None)  # noqa: PLR2004
