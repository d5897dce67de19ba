"""What is in a finished run's store, as a `Result`: one way for every engine."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from coordinator.jobstate import JobState, Phase
from coordinator.selection.plan import Plan
from coordinator.store import Row, Store
from edge_client.circuit.backends.chosen import circuit_of
from edge_client.circuit.classifier import classifier_model
from edge_client.dataset import Table, encode
from edge_client.kinds import features_of
from edge_client.train import Evaluation, evaluate
from firmware_sim.holdings import Holdings
from firmware_sim.outcome import Result, RoundOutcome
from firmware_sim.population import Client
from firmware_sim.scenario import Scenario
from proto.codec import decode_signed
from proto.errors import QfleetError
from proto.messages import KIND_NAMES, Task
from proto.models import model_layout
from quantization.pack import unpack
from quantization.scheme import EXACT

JOB = "fleet"
"""What an emulated fleet's one job is called."""


class Spent(Struct, frozen=True, kw_only=True):
    """What a round took beside time and bytes, as `RoundOutcome` tells it; real boxes never do."""

    energy_j: float = 0.0
    idle_j: float = 0.0
    wasted_j: float = 0.0
    wasted_bytes: int = 0
    paid_bytes: int = 0
    battery_deaths: int = 0
    queue_s: float = 0.0


NOTHING = Spent()


class Run(NamedTuple):
    """What was run, by which engine, and when (seconds since 1970) it began."""

    engine: str
    scenario: Scenario
    seed: int
    clients: Sequence[Client]
    held: Holdings
    began: float

    def numbers(self, boxes: Collection[str]) -> tuple[int, ...]:
        """Whose boxes these are, in order."""
        return tuple(sorted(c.number for c in self.clients if c.name in boxes))


def summed(store: Store, run: Run, spent: Mapping[int, Spent]) -> Result:
    """The whole run, which ends with its last round; `spent` by turn, where it is known."""
    state = state_of(store)
    seen, own = judged(store, JOB, run.held)
    closed = [row for row in store.rounds(JOB) if row.closed is not None]
    over = state.phase in (Phase.FINISHED, Phase.STOPPED)
    return Result(
        scenario=run.scenario.name,
        policy=state.rules.policy,
        engine=run.engine,
        seed=run.seed,
        clients=len(run.clients),
        target=run.scenario.work.target,
        rounds=tuple(
            _round(store, row, run, seen.get(row.turn), spent.get(row.turn, NOTHING))
            for row in closed
        ),
        ended_s=closed[-1].closed - run.began if closed else 0.0,
        phase=state.phase.value if over else "out of time",
        reason=state.reason,
        boards=tuple(client.board for client in run.clients),
        accuracy_by_client=own,
        refusals=refusals(store, JOB),
    )


def _round(
    store: Store,
    row: Row,
    run: Run,
    seen: tuple[Evaluation, str] | None,
    spent: Spent,
) -> RoundOutcome:
    plan = msgspec.json.decode(row.plan, type=Plan)
    counted = store.senders(row.turn) if row.outcome == "done" else ()
    evaluation, digest = seen or (None, "")
    return RoundOutcome(
        turn=row.turn,
        round=row.round,
        kind=KIND_NAMES[row.kind],
        outcome=row.outcome,
        opened_s=row.opened - run.began,
        closed_s=row.closed - run.began,
        asked=run.numbers(frozenset(plan.cohort)),
        included=run.numbers(frozenset(counted)),
        bytes_up=row.bytes_up,
        bytes_down=row.bytes_down,
        accuracy=evaluation.accuracy if evaluation else None,
        loss=evaluation.loss if evaluation else None,
        model=digest,
        **msgspec.structs.asdict(spent),
    )


def state_of(store: Store) -> JobState:
    """Where the job stands. Raises QfleetError where it has gone."""
    row = store.job(JOB)
    if row is None:
        raise QfleetError("the job has gone from the store")
    return msgspec.json.decode(row.state, type=JobState)


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
