"""Lines about refused messages: each trouble once an hour, and not all a stranger can think of."""

import logging
from collections.abc import Callable

MOST, HOUR = 100, 3600.0
"""Lines told in an hour."""

logger = logging.getLogger("edge_client")


class Refusals:
    """What was told in this hour."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since = -HOUR
        self._told: set[str] = set()

    def tell(self, why: str) -> None:
        """A line about something refused, unless it was told already."""
        now = self._now()
        if now > self._since + HOUR:
            self._since = now
            self._told.clear()
        if why in self._told or len(self._told) >= MOST:
            return
        self._told.add(why)
        more = "; no more of this for an hour" if len(self._told) == MOST else ""
        logger.warning("refused: %s (told once)%s", why, more)
