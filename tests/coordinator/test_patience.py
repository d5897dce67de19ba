"""A process that was started is waited for as long as it gets on, and no longer."""

import os
import signal
import subprocess
import sys

import pytest

from coordinator.patience import BUSY_S, LONGEST_S, STILL_S, Patience, cpu_of
from tests.waiting import until


class Clock:
    """Looks, `step` seconds apart, at a process that uses a `share` of a core until `until`."""

    def __init__(self, share: float, until: float = 1e9, step: float = 0.05) -> None:
        self.now, self._share, self._until, self._step = 0.0, share, until, step

    def __call__(self) -> float:
        self.now += self._step
        return self.now

    def used(self, _pid: int) -> float:
        return self._share * min(self.now, self._until)


def looks(clock: Clock) -> float:
    """When patience was over."""
    patience = Patience(1, clock, clock.used)
    until(lambda: patience.over, meanwhile=lambda: None, limit=2 * LONGEST_S)
    return clock.now


def test_a_process_that_does_nothing_is_given_up_soon():
    assert looks(Clock(0.0)) == pytest.approx(STILL_S, abs=1.5)


def test_one_that_hardly_moves_as_an_idle_broker_is_given_up_as_soon():
    assert looks(Clock(0.001)) == pytest.approx(STILL_S, abs=1.5)


def test_one_that_gets_a_hundredth_of_a_core_is_waited_for_and_given_up_once_it_hangs():
    assert looks(Clock(0.01, until=200.0)) == pytest.approx(200.0 + STILL_S, abs=8.0)


def test_one_that_never_ends_its_start_is_given_up_after_all():
    assert looks(Clock(1.0)) == pytest.approx(BUSY_S, abs=2.0)
    assert looks(Clock(0.02)) == pytest.approx(LONGEST_S, abs=2.0)


class Childless(Clock):
    """As Clock, with a child that used 10 seconds and ended at 20; the system forgets it."""

    def used(self, pid: int) -> float:
        return super().used(pid) + (10.0 if self.now < 20.0 else 0.0)


def test_one_whose_child_has_ended_is_waited_for_as_long_as_it_gets_on_itself():
    assert looks(Childless(0.01, until=200.0)) == pytest.approx(200.0 + STILL_S, abs=8.0)


class Flickering(Clock):
    """As Clock, but for looks that miss the child: of every four the last `missed`."""

    missed, count = 1, 0

    def used(self, pid: int) -> float:
        self.count += 1
        return super().used(pid) + (0.0 if self.count % 4 >= 4 - self.missed else 1.0)


@pytest.mark.parametrize("missed", [1, 2, 3])
def test_what_a_look_missed_and_the_next_one_sees_again_is_no_progress(missed):
    for share, until_ in ((0.0, 0.0), (0.01, 200.0)):
        clock = Flickering(share, until=until_, step=0.5)
        clock.missed = missed
        assert looks(clock) == pytest.approx(until_ + STILL_S, abs=8.0)


def test_time_in_which_nobody_looked_does_not_count():
    """Both were stopped for three minutes at a time, or the machine slept."""
    assert looks(Clock(0.0, step=180.0)) > 14 * 180.0


def test_cpu_of_a_real_process_and_its_children_grows_and_of_none_is_nothing():
    child = "import itertools\nfor x in itertools.count(): pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as process:
        try:
            until(lambda: cpu_of(process.pid) > 0.3)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert cpu_of(process.pid) == 0.0


def test_cpu_of_a_child_that_has_ended_is_its_parents():
    child = "import time\nwhile time.process_time() < 0.5: pass"
    code = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {child!r}])
print("ended", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ended\n"
        used = cpu_of(process.pid)
        process.communicate()
    assert used >= 0.5
