"""A coordinator that kills itself, as kill -9 would, when its job first reaches a phase.

`python -m tests.flow.crashing_coordinator --crash-at folding [--before-commit] ...`; all other
words are the coordinator's own.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from coordinator import daemon
from coordinator.jobstate import JobState, Phase
from coordinator.store import Store


def arm(phase: Phase, *, before_commit: bool) -> None:
    """Die at the end of the unit of work that first writes this phase down."""
    save_state, unit = Store.save_state, Store.unit
    reached: list[JobState] = []
    inside: list[Store] = []

    def saving(store: Store, state: JobState) -> None:
        save_state(store, state)
        if state.phase is phase:
            reached.append(state)

    @contextmanager
    def working(store: Store) -> Iterator[None]:
        inside.append(store)
        try:
            with unit(store):
                yield
                if len(inside) == 1 and reached and before_commit:
                    die()
        finally:
            inside.pop()
        if not inside and reached:
            die()

    Store.save_state, Store.unit = saving, working  # type: ignore[method-assign]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crash-at", type=Phase, required=True)
    parser.add_argument("--before-commit", action="store_true")
    own, rest = parser.parse_known_args()
    arm(own.crash_at, before_commit=own.before_commit)
    sys.argv[1:] = rest
    daemon.main()


if __name__ == "__main__":
    main()
