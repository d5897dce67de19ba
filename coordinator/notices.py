"""What the coordinator tells the person who runs it: each thing once, readable, safe to print."""

import logging
import unicodedata
from collections import OrderedDict

from coordinator.store import Store

MAX_REMEMBERED = 1000
MAX_LINES, HOUR = 200, 3600.0
"""Refusals told in an hour: on an open broker anybody could fill the store."""


class Notices:
    """Lines to the log of the process and of the job; the same trouble is told once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logger = logging.getLogger("coordinator")
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._since, self._lines = 0.0, 0

    def say(self, now: float, text: str, job: str = "") -> None:
        clean = printable(text)
        self._logger.info("%s%s", f"[{job}] " if job else "", clean)
        self._store.say(now, job, clean)

    def once(self, now: float, who: str, trouble: str, job: str = "") -> None:
        """Trouble a stranger could cause at will: told once for each sender and kind."""
        key = (who, trouble[:60])
        if key in self._told:
            return
        self._told[key] = None
        if len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
        if now > self._since + HOUR:
            self._since, self._lines = now, 0
        self._lines += 1
        if self._lines <= MAX_LINES:
            self.say(now, f"refused from {who}: {trouble} (told once)", job)
        elif self._lines == MAX_LINES + 1:
            self.say(now, "too much is refused to tell it all; no more of it for this hour")


def printable(text: str, limit: int = 300) -> str:
    """A peer's text without control or direction characters, and capped."""
    if text.isprintable():  # then it holds none of them
        return text[:limit]
    return "".join(c if unicodedata.category(c)[0] != "C" else "?" for c in text[:limit])
