"""When a box speaks up unasked: its journal or its note says something new.

Boxes report when they join and when they are offered work. Who is rarely asked would tell of a
weak supply only once it has failed. Boxes whose owners let no journal out never speak up.
"""

import re
from collections.abc import Callable
from math import inf

from proto.messages import Resources

EVERY = 600.0
"""Seconds between two looks, so that a box that writes much does not report much."""
_AGE = re.compile(r"^\d+ (s|min|h|d) ago: ")


class News:
    """What was told last. `due` is when to look again; infinity without a journal."""

    def __init__(self) -> None:
        self.due = inf
        self._told = Resources()

    def told(self, resources: Resources, now: float) -> Resources:
        """These, which leave in a report."""
        self._told = resources
        self.due = now + EVERY if resources.journal else inf
        return resources

    def any(self, read: Callable[[], Resources], now: float) -> bool:
        """Whether it is time to look, and there is something to report."""
        if now < self.due:
            return False
        self.due = now + EVERY
        return _words(read()) != _words(self._told)


def _words(resources: Resources) -> tuple[str, ...]:
    """Without the lines' ages: else every look would find news."""
    if not resources.journal:
        return (resources.note,)
    return (resources.note, *[_AGE.sub("", line) for line in resources.journal])
