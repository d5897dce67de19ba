"""Virtual time: what happens next, and when. Nothing here waits."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf

_Call = Callable[[], None]


class Clock:
    """Seconds that pass only from one event to the next.

    Events run in order of time; those of one moment in the order in which they were added, so
    that the same inputs give the same run, to the byte.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.steps = 0
        """Events run so far."""
        self._order = count()
        self._events: list[tuple[float, int, _Call]] = []
        self._soon: deque[_Call] = deque()
        """What was added for the present moment: after all that was due at it before."""

    def at(self, when: float, call: _Call) -> None:
        """Run `call` at `when` seconds; a moment already past means now, after what is due."""
        if when <= self.now:
            self._soon.append(call)
        else:
            heappush(self._events, (when, next(self._order), call))

    def after(self, delay: float, call: _Call) -> None:
        """Run `call` in `delay` seconds."""
        self.at(self.now + delay, call)

    def step(self) -> bool:
        """Run the next event alone. Returns False when there is none."""
        events, soon = self._events, self._soon
        self.steps += 1
        if soon and (not events or events[0][0] > self.now):
            soon.popleft()()
            return True
        if not events:
            return False
        self.now, _, call = heappop(events)
        call()
        return True

    def run(self, until: float | None = None) -> None:
        """Run all events up to and including `until`, which then is the time; or all there are."""
        while self._next() <= (inf if until is None else until) and self.step():
            pass
        if until is not None:
            self.now = max(self.now, until)

    def idle(self) -> bool:
        """Whether nothing is left to happen."""
        return not (self._events or self._soon)

    def _next(self) -> float:
        if self._soon:
            return self.now
        return self._events[0][0] if self._events else inf
