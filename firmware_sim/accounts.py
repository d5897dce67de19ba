"""What each round of an emulated fleet took, written down as it happens."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from coordinator.jobstate import Event as RoundEvent
from coordinator.jobstate import Phase
from coordinator.selection.plan import Plan
from edge_client.state import Event as BoxEvent
from firmware_sim.machine import Machine
from firmware_sim.results import JOB, Spent
from firmware_sim.virtual import VirtualFleet
from proto.messages import TRAIN


class Accounts:
    """Energy, bytes and time by round; a watcher of the round table."""

    job = JOB

    def __init__(
        self,
        fleet: VirtualFleet,
        machines: Mapping[str, Machine],
        tell: Callable[[int, int], None] | None = None,
    ) -> None:
        self._fleet, self._machines, self._tell = fleet, machines, tell
        self._worked: dict[str, float] = {}
        """Joules used by each client's training in the open round."""
        self._began: dict[str, float] = {}
        self._used = 0.0
        self._deaths = 0
        self._paid = 0
        self._moved: Counter[str] = Counter()
        self.queued = 0.0
        self._queued = 0.0
        self._open = 0
        self._there: set[str] = set()
        """Clients at work since the open turn began."""
        self._unsettled: dict[str, float] = {}
        """Joules of work from turns before the open one, which may yet count."""
        self.spent: dict[int, Spent] = {}
        """What each turn took."""
        self.reached: tuple[float, Callable[[], float]] | None = None
        """A target, and what measures the newest model against it."""
        self._hit = False

    def hit(self) -> bool:
        """Whether the run may end here."""
        return self._hit

    # --- training, as the boards bear it ---

    def begins(self, box: str) -> None:
        self._began[box] = self._machines[box].to(self._fleet.clock.now).used_j

    def ends(self, box: str) -> None:
        used = self._machines[box].to(self._fleet.clock.now).used_j
        self._worked[box] = self._worked.get(box, 0.0) + used - self._began.pop(box, used)

    # --- the round table ---

    def box(self, box: str, event: BoxEvent, *, after: bool) -> None:
        """Boxes' events cost nothing that is not seen elsewhere."""

    def round(self, _job: str, _event: RoundEvent, *, after: bool) -> None:
        if not after:
            return
        state = self._fleet.store.job(self.job).value
        if state.phase is Phase.COLLECTING and state.turn != self._open:
            self._open, self._moved = state.turn, self._fleet.broker.traffic.moved
            self._there = {member.box for member in state.members}
        row = self._fleet.store.round_of(self._open)
        if row is not None and row.closed is not None and self._open not in self.spent:
            self._close(row, {m.box for m in state.members if state.buffered})
            if self.reached and row.kind == TRAIN and row.outcome == "done":
                self._hit = self.reached[1]() >= self.reached[0]
            if self._tell:
                self._tell(min(state.round, state.rules.rounds), state.rules.rounds)

    def _close(self, row: Any, at_work: set[str]) -> None:
        """Put a round to the account; of an asynchronous one some clients are `at_work` still."""
        now, moved = self._fleet.clock.now, self._fleet.broker.traffic.moved
        used, deaths, sent, paid = 0.0, 0, 0.0, 0
        for name, machine in self._machines.items():
            machine.to(now)
            sent += machine.radio(moved[self._fleet.client_id(name)])
            used, deaths = used + machine.board.used_j, deaths + machine.board.deaths
            paid += machine.paid
        plan = msgspec.json.decode(row.plan, type=Plan)
        counted = set(self._fleet.store.senders(row.turn)) if row.outcome == "done" else set()
        for box in self._began:  # still at work on what nobody waits for any more
            self._worked[box] = self._worked.get(box, 0.0) + self._machines[box].board.used_j
            self._worked[box] -= self._began[box]
            self._began[box] = self._machines[box].board.used_j
        given_up = {*plan.cohort, *self._there} - counted - at_work
        lost = [self._fleet.client_id(box) for box in given_up]
        worked = sum(self._worked.values()) + sent
        self.spent[row.turn] = Spent(
            energy_j=worked,
            idle_j=max(0.0, used - self._used - worked),
            wasted_j=self._wasted(counted, at_work),
            wasted_bytes=sum(moved[box] - self._moved[box] for box in lost),
            paid_bytes=paid - self._paid,
            battery_deaths=deaths - self._deaths,
            queue_s=self.queued - self._queued,
        )
        self._used, self._deaths, self._queued, self._paid = used, deaths, self.queued, paid
        self._worked.clear()

    def _wasted(self, counted: set[str], at_work: set[str]) -> float:
        """Joules of work that is over and did not count; what goes on is settled later."""
        lost, going = 0.0, {}
        for box in sorted({*self._worked, *self._unsettled}):
            joules = self._worked.get(box, 0.0) + self._unsettled.get(box, 0.0)
            if box in at_work:
                going[box] = joules
            elif box not in counted:
                lost += joules
        self._unsettled = going
        return lost
