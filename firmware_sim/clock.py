"""Virtual time: what happens next, and when. Nothing here waits."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
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
        self._due: deque[_Call] = deque()
        """What is left to do at the present moment."""
        self._later: dict[float, list[_Call]] = {}
        """What is to be done at moments to come: many boxes often share one."""
        self._moments: list[float] = []
        """A heap of those moments."""

    def soon(self, call: _Call) -> None:
        """Run `call` now, after what is due."""
        self._due.append(call)

    def at(self, when: float, call: _Call) -> None:
        """Run `call` at `when` seconds; a moment already past means now, after what is due."""
        if when <= self.now:
            self._due.append(call)
        elif when in self._later:
            self._later[when].append(call)
        else:
            self._later[when] = [call]
            heappush(self._moments, when)

    def after(self, delay: float, call: _Call) -> None:
        """Run `call` in `delay` seconds."""
        self.at(self.now + delay, call)

    def step(self) -> bool:
        """Run the next event alone. Returns False when there is none."""
        due = self._due
        if not due:
            if not self._moments:
                return False
            self.now = now = heappop(self._moments)
            due.extend(self._later.pop(now))
        self.steps += 1
        due.popleft()()
        return True

    def run(self, until: float | None = None) -> None:
        """Run all events up to and including `until`, which then is the time; or all there are."""
        while self._next() <= (inf if until is None else until) and self.step():
            pass
        if until is not None:
            self.now = max(self.now, until)

    def idle(self) -> bool:
        """Whether nothing is left to happen."""
        return not (self._due or self._moments)

    def _next(self) -> float:
        if self._due:
            return self.now
        return self._moments[0] if self._moments else inf
