"""How long a process that was started is waited for: as long as it gets on.

On a busy machine a start takes a minute where it takes a second on an idle one, so no short clock
can tell a slow start from one that hangs. What tells is whether the process gets anything done.
"""

import time
from collections.abc import Callable
from contextlib import suppress

STILL_S, LITTLE = 15.0, 0.05
"""A process that used no more than so little CPU time in so long, with all that it started, those
that have ended too, is at nothing ..."""
BUSY_S = 120.0
"""... and with so much CPU time used it does something else than starting."""
LONGEST_S = 600.0
LOOK_S = 1.0
"""A pause between two looks counts as no more: then whoever waits was held up as well."""


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and of those it started, with those that it saw end (on Linux)."""
    import psutil  # noqa: PLC0415 - few starts take long enough to ask

    found = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                times = one.cpu_times()
                found += times.user + times.system + times.children_user + times.children_system
    return found


class Patience:
    """Asked at each look whether it is at its end."""

    def __init__(
        self,
        pid: int,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[int], float] = cpu_of,
    ) -> None:
        self._pid, self._clock, self._used = pid, clock, used
        self._looked = clock()
        self._waited = self._still = self._cpu = 0.0
        self._known = 0.0
        """What it had used when it last got on."""

    @property
    def over(self) -> bool:
        """Whether the process should have been ready by now."""
        now = self._clock()
        passed = min(LOOK_S, now - self._looked)
        self._looked = now
        self._waited += passed
        self._still += passed
        if self._still < LOOK_S:
            return False
        cpu = self._used(self._pid)
        # What a child used may end with it, and is no debt; what one look missed is no progress.
        self._cpu = self._known if cpu >= self._known else min(self._cpu, cpu)
        if cpu > self._cpu + LITTLE:
            self._cpu, self._known, self._still = cpu, cpu, 0.0
        return self._still >= STILL_S or self._cpu >= BUSY_S or self._waited >= LONGEST_S
