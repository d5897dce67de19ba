"""Long work waits while the board is too hot or its battery is low, and then goes on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from edge_client.config import Adapter as Limits
from proto.messages import Resources

LOOK_S = 10.0
"""Seconds between looks while waiting."""
COOLER, FULLER = 5, 5
"""Degrees below the limit, and per cent above it, at which work goes on: not to and fro."""

logger = logging.getLogger("edge_client")


@dataclass(frozen=True, slots=True)
class Pace:
    """What to look at, and how to wait."""

    limits: Limits
    read: Callable[[], Resources]
    sleep: Callable[[float], None]

    def wait(self) -> None:
        """Return when there may be work; between steps, so that nothing of them is lost."""
        if not (why := self._trouble(0, 0)):
            return
        logger.info("training pauses: %s", why)
        while self._trouble(COOLER, FULLER):
            self.sleep(LOOK_S)
        logger.info("training goes on")

    def _trouble(self, cooler: int, fuller: int) -> str:
        now, limits = self.read(), self.limits
        if now.temperature_c is not None and now.temperature_c > limits.max_temperature_c - cooler:
            return f"{now.temperature_c} degrees; {limits.max_temperature_c} are allowed"
        low = now.battery is not None and now.battery < min(100, limits.min_battery + fuller)
        if low and now.charging is not True:
            return f"battery at {now.battery} %; {limits.min_battery} % shall be kept"
        return ""
