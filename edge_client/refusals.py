"""Lines about refused messages: enough to see what goes on, not all that a stranger can send."""

import logging
from collections.abc import Callable

MOST, HOUR = 100, 3600.0
"""Lines told in an hour."""

logger = logging.getLogger("edge_client")


class Refusals:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since, self._count = -HOUR, 0

    def tell(self, why: str) -> None:
        now = self._now()
        if now > self._since + HOUR:
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= MOST:
            more = "; no more of this for an hour" if self._count == MOST else ""
            logger.warning("refused: %s%s", why, more)
