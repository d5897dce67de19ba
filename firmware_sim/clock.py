"""Virtual time: what happens next, and when. Nothing here waits."""

import heapq
from collections.abc import Callable
from itertools import count

_Call = Callable[[], None]


class Clock:
    """Seconds that pass only from one event to the next.

    Events run in order of time; those of one moment in the order in which they were added, so
    that the same inputs give the same run, to the byte.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._order = count()
        self._events: list[tuple[float, int, _Call]] = []

    def at(self, when: float, call: _Call) -> None:
        """Run `call` at `when` seconds; a moment already past means now, after what is due."""
        heapq.heappush(self._events, (max(when, self.now), next(self._order), call))

    def after(self, delay: float, call: _Call) -> None:
        """Run `call` in `delay` seconds."""
        self.at(self.now + delay, call)

    def step(self) -> bool:
        """Run the next event alone. Returns False when there is none."""
        if not self._events:
            return False
        self.now, _, call = heapq.heappop(self._events)
        call()
        return True

    def run(self, until: float | None = None) -> None:
        """Run all events up to and including `until`, which then is the time; or all there are."""
        while self._events and (until is None or self._events[0][0] <= until):
            self.step()
        if until is not None:
            self.now = max(self.now, until)

    def idle(self) -> bool:
        """Whether nothing is left to happen."""
        return not self._events
