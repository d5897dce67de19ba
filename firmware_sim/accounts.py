"""What each round of an emulated fleet took, written down as it happens."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from coordinator.jobstate import Event as RoundEvent
from coordinator.jobstate import Phase
from coordinator.selection.plan import Plan
from coordinator.store import Store
from edge_client.circuit.backends.chosen import circuit_of
from edge_client.circuit.classifier import classifier_model
from edge_client.dataset import Table, encode
from edge_client.kinds import features_of
from edge_client.state import Event as BoxEvent
from edge_client.train import Evaluation, evaluate
from firmware_sim.holdings import Holdings
from firmware_sim.machine import Machine
from firmware_sim.outcome import Result, RoundOutcome
from firmware_sim.population import Client
from firmware_sim.scenario import Scenario
from firmware_sim.virtual import VirtualFleet
from proto.codec import decode_signed
from proto.messages import KIND_NAMES, TRAIN, Task
from proto.models import model_layout
from quantization.pack import unpack
from quantization.scheme import EXACT


class Accounts:
    """Energy, bytes and time by round; a watcher of the round table."""

    job = "fleet"

    def __init__(
        self,
        fleet: VirtualFleet,
        machines: Mapping[str, Machine],
        tell: Callable[[int, int], None] | None = None,
    ) -> None:
        self._fleet, self._machines, self._tell = fleet, machines, tell
        self._spent: dict[str, float] = {}
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
        self._rows: dict[int, dict[str, Any]] = {}
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
        self._spent[box] = self._spent.get(box, 0.0) + used - self._began.pop(box, used)

    # --- the round table ---

    def box(self, box: str, event: BoxEvent, *, after: bool) -> None:
        """Boxes' events cost nothing that is not seen elsewhere."""

    def round(self, _job: str, _event: RoundEvent, *, after: bool) -> None:
        if not after:
            return
        state = self._fleet.store.job(self.job).value
        if state.phase is Phase.COLLECTING and state.turn != self._open:
            self._open, self._moved = state.turn, Counter(self._fleet.broker.traffic.moved)
            self._there = {member.box for member in state.members}
        row = self._fleet.store.round_of(self._open)
        if row is not None and row.closed is not None and self._open not in self._rows:
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
            sent += machine.radio(moved[self._id(name)])
            used, deaths = used + machine.board.used_j, deaths + machine.board.deaths
            paid += machine.paid
        plan = msgspec.json.decode(row.plan, type=Plan)
        counted = set(self._fleet.store.senders(row.turn)) if row.outcome == "done" else set()
        for box in self._began:  # still at work on what nobody waits for any more
            self._spent[box] = self._spent.get(box, 0.0) + self._machines[box].board.used_j
            self._spent[box] -= self._began[box]
            self._began[box] = self._machines[box].board.used_j
        lost = {*plan.cohort, *self._there} - counted - at_work
        worked, wasted = sum(self._spent.values()) + sent, self._wasted(counted, at_work)
        self._rows[row.turn] = {
            "energy_j": worked,
            "idle_j": max(0.0, used - self._used - worked),
            "wasted_j": wasted,
            "wasted_bytes": sum(moved[self._id(b)] - self._moved[self._id(b)] for b in lost),
            "paid_bytes": paid - self._paid,
            "battery_deaths": deaths - self._deaths,
            "queue_s": self.queued - self._queued,
            "asked": self._numbers(plan.cohort),
            "included": self._numbers(counted),
        }
        self._used, self._deaths, self._queued, self._paid = used, deaths, self.queued, paid
        self._spent.clear()

    def _wasted(self, counted: set[str], at_work: set[str]) -> float:
        """Joules of work that is over and did not count; what goes on is settled later."""
        lost, going = 0.0, {}
        for box in sorted({*self._spent, *self._unsettled}):
            joules = self._spent.get(box, 0.0) + self._unsettled.get(box, 0.0)
            if box in at_work:
                going[box] = joules
            elif box not in counted:
                lost += joules
        self._unsettled = going
        return lost

    def _numbers(self, names: Any) -> tuple[int, ...]:
        return tuple(sorted(self._machines[name].client.number for name in names))

    def _id(self, name: str) -> str:
        return f"{self._fleet.name}-{name}-box"

    # --- the sum of it ---

    def outcome(
        self, scenario: Scenario, seed: int, held: Holdings, clients: Sequence[Client]
    ) -> Result:
        """What the run came to."""
        store, fleet = self._fleet.store, self._fleet
        state = store.job(self.job).value
        seen, own = judged(store, self.job, held)
        over = state.phase in (Phase.FINISHED, Phase.STOPPED)
        rounds = tuple(
            self._round(row, seen) for row in store.rounds(self.job) if row.turn in self._rows
        )
        return Result(
            scenario=scenario.name,
            policy=state.rules.policy,
            engine="virtual",
            seed=seed,
            clients=len(clients),
            target=scenario.work.target,
            rounds=rounds,
            ended_s=fleet.clock.now,
            phase=state.phase.value if over else "out of time",
            reason=state.reason,
            boards=tuple(client.board for client in clients),
            accuracy_by_client=own,
            refusals=refusals(store, self.job),
            events=fleet.broker.traffic.count,
            trace=fleet.trace.digest() if fleet.trace else "",
        )

    def _round(self, row: Any, seen: Mapping[int, tuple[Evaluation, str]]) -> RoundOutcome:
        judged, digest = seen.get(row.turn, (None, ""))
        start = self._fleet.wall() - self._fleet.clock.now
        return RoundOutcome(
            turn=row.turn,
            round=row.round,
            kind=KIND_NAMES[row.kind],
            outcome=row.outcome,
            opened_s=row.opened - start,
            closed_s=row.closed - start,
            bytes_up=row.bytes_up,
            bytes_down=row.bytes_down,
            accuracy=judged.accuracy if judged else None,
            loss=judged.loss if judged else None,
            model=digest,
            **self._rows[row.turn],
        )


def judged(
    store: Store, job: str, held: Holdings
) -> tuple[dict[int, tuple[Evaluation, str]], tuple[float, ...]]:
    """Each turn's model on rows nobody holds; the last one on each client's own kind."""
    judge = judge_of(store, job)
    if judge is None:
        return {}, ()
    history = [row for row in store.model_history(job) if row.turn]
    seen = {row.turn: (judge(row.data, held.test), row.digest.hex()) for row in history}
    own: tuple[float, ...] = ()
    if history and held.own_tests:
        parts = [table for table in held.own_tests if len(table.y)]
        own = tuple(judge(history[-1].data, table).accuracy for table in parts)
    return seen, own


def newest(store: Store, job: str, table: Table) -> float:
    """Accuracy of a job's newest model on these rows; 0 before there is one."""
    judge, row = judge_of(store, job), store.model(job, "model")
    return judge(row.data, table).accuracy if judge and row else 0.0


def judge_of(store: Store, job: str) -> Callable[[bytes, Table], Evaluation] | None:
    """What tells how good a job's model is on a table; None before it has features."""
    task = decode_signed(store.job(job).task, Task)  # type: ignore[union-attr]
    features = store.model(job, "features")
    if task.data.components and features is None:
        return None
    packed = features.data if features else b""
    model, layout = classifier_model(circuit_of(task)), model_layout(task.model)

    def judge(data: bytes, table: Table) -> Evaluation:
        z = features_of(task, table.X, packed)
        return evaluate(model, unpack(data, layout, EXACT), z, encode(table.labels, table.classes))

    return judge


def refusals(store: Store, job: str) -> dict[str, int]:
    """Reasons boxes gave for declining or staying away, as the coordinator's log has them."""
    lines = [row.text for row in store.said(job, 0)]
    marks = (" declined ", " takes no part: ")
    declined = [line.split(": ", 1)[1] for line in lines if any(m in line for m in marks)]
    return dict(sorted(Counter(declined).items()))
