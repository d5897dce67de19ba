"""Cuts at every step of both tables, one run each, and the proof that nothing came of it.

The fleet is the real one (`firmware_sim.fleet`): files, SQLite, sealing, on virtual time. A run
without cuts tells all steps there are. Then each is cut in each way, in a run of its own, and after
it must hold: the job is finished; every round counts every box once; all outboxes are empty; and
the last model is the undisturbed one's, to the bit, so that no update was lost or applied twice.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from coordinator.buffered import TABLE as BUFFERED_TABLE
from coordinator.folding import Figures
from coordinator.jobstate import Phase
from coordinator.rounds import TABLE as ROUND_TABLE
from coordinator.taskfile import Data, RoundsTable, TaskFile, Train
from coordinator.taskmodel import Model
from edge_client import config
from edge_client.session import TABLE as BOX_TABLE
from edge_client.spool import look_at
from firmware_sim.cuts import AWAY_S, KINDS, BadBroker, Cut, Killed, Saboteur, Step, client_id
from firmware_sim.fleet import Fleet
from firmware_sim.link import Link
from proto.errors import QfleetError

NAMES = ("box-1", "box-2", "box-3")
ROWS, ROUNDS, JOB = 24, 4, "chaos"
SYNC = RoundsTable(count=ROUNDS, quorum=3, cohort=3, seed=5, deadline="20m")
ASYNC = RoundsTable(
    kind="async", concurrency=3, buffer=3, count=ROUNDS, quorum=3, seed=5, deadline="20m"
)
"""Every box at work and in every step: so that each run must end with the same model, too."""
LIMIT_S = 7200.0
SHM = Path("/dev/shm")  # noqa: S108 - a disk in memory, where there is one: syncs cost nothing

Tell = Callable[[int, int], None]


class Verdict(Struct, frozen=True, kw_only=True):
    """What came of all cuts."""

    cuts: int
    by_kind: dict[str, int]
    states: dict[str, int]
    """How often each state of either table was cut."""
    rules: int
    """Pairs of state and event that were cut, of those the tables have."""
    rules_in_all: int
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures


class _End(Struct, frozen=True):
    """How a run ended: what must be equal in all of them."""

    model: bytes
    rounds: tuple[tuple[int, int, int, int], ...]
    """Kind, round, updates included, rows."""
    waiting: int
    """Updates left in outboxes."""


def chaos(cuts: int = 0, tell: Tell | None = None, table: RoundsTable | None = None) -> Verdict:
    """Cut everywhere; or, with a number, so many cuts spread evenly over all there are."""
    root = Path(tempfile.mkdtemp(prefix="qfleet-chaos-", dir=SHM if SHM.is_dir() else None))
    try:
        return _chaos(root, cuts, tell, table or SYNC)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _chaos(root: Path, count: int, tell: Tell | None, table: RoundsTable) -> Verdict:
    template = root / "template"
    _join(template)
    first = _Run(template, root / "undisturbed", None, table)
    wanted = first.end()
    todo = list(chosen(all_cuts(first.saboteur.steps), count))
    failures = []
    for number, cut in enumerate(todo):
        if (trouble := _try(template, root / "cut", cut, wanted, table)) is not None:
            failures.append(f"{cut}: {trouble}")
        if tell:
            tell(number + 1, len(todo))
    return _verdict(todo, failures, table)


def all_cuts(steps: Sequence[Step]) -> list[Cut]:
    """Each step in each way."""
    return [Cut(kind, step) for step in steps for kind in KINDS]


def chosen(cuts: list[Cut], count: int) -> Iterator[Cut]:
    """All of them, or `count`: first one for each kind, state and event, then evenly spread."""
    if not 0 < count < len(cuts):
        yield from cuts
        return
    sorts: dict[tuple[str, str, str], Cut] = {}
    for cut in cuts:
        sorts.setdefault((cut.kind, cut.step.state, cut.step.event), cut)
    firsts = set(sorts.values())
    rest = [cut for cut in cuts if cut not in firsts]
    yield from _spread([cut for cut in cuts if cut in firsts], count)
    yield from _spread(rest, max(0, count - len(firsts)))


def _spread(cuts: list[Cut], count: int) -> list[Cut]:
    """`count` of them, evenly spread."""
    if count >= len(cuts):
        return cuts
    return [cuts[at * len(cuts) // count] for at in range(count)]


def _try(
    template: Path, home: Path, cut: Cut, wanted: _End, table: RoundsTable = SYNC
) -> str | None:
    """What is wrong after this cut, or None."""
    try:
        run = _Run(template, home, cut, table)
        end = run.end()
        if not run.saboteur.struck:
            return "its step did not come"
        return None if end == wanted else _difference(end, wanted)
    except (QfleetError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _difference(end: _End, wanted: _End) -> str:
    if end.rounds != wanted.rounds:
        return f"rounds {end.rounds}, not {wanted.rounds}"
    if end.waiting:
        return f"{end.waiting} updates are still in outboxes"
    return "another model than without the cut"


class _Run:
    """One run of the fleet from its template to its end."""

    def __init__(
        self, template: Path, home: Path, cut: Cut | None, table: RoundsTable = SYNC
    ) -> None:
        shutil.copytree(template, home)
        self.fleet = Fleet(home, Link(0), broker=BadBroker)
        self.saboteur = self.fleet.watch = Saboteur(self.fleet, cut)
        self._home, self._table = home, table
        self._stops = iter(("stop", "resume"))
        self._start("coordinator")
        for name in NAMES:
            self._start(name)

    def end(self) -> _End:
        """Run on, raising the dead, until the job is finished."""
        fleet, clock = self.fleet, self.fleet.clock
        fleet.submit(_task(self._table))
        # Not a quiet day even without the cut, so that more states and events are there to be cut.
        clock.after(30.0, self._ask)
        clock.after(95.0, lambda: self._unplug(NAMES[1]))
        clock.after(120.0, lambda: self._bury("coordinator"))
        clock.after(170.0, lambda: self._bury(NAMES[2]))
        while not self._finished():
            try:
                alive = clock.step()
            except Killed as death:
                self._bury(str(death))
                continue
            if not alive or clock.now > LIMIT_S:
                raise QfleetError(f"not finished after {clock.now:.0f} s of virtual time")
        self._drain()
        return self._summed()

    def _finished(self) -> bool:
        jobs = getattr(self.fleet.service, "_jobs", None)
        over = jobs is not None and jobs.known(JOB) is None
        return over and "coordinator" in self.fleet.running and self._phase() == "finished"

    def _phase(self) -> str:
        assert self.fleet.store is not None
        row = self.fleet.store.job(JOB)
        return str(row.phase) if row else ""

    def _ask(self) -> None:
        """A person stops the job for a while: those states are cut as well."""
        word = next(self._stops, None)
        if word is None:
            return
        store = self.fleet.open_store()
        row = store.job(JOB)  # by a connection of our own: the coordinator may be dead
        if row is not None and row.phase != Phase.FINISHED.value:
            store.change_job(JOB, asked=word)
        store.close()
        self.fleet.clock.after(30.0, self._ask)

    def _unplug(self, name: str) -> None:
        broker, client = self.fleet.broker, client_id(self.fleet, name)
        assert isinstance(broker, BadBroker)
        broker.link.cut(client)
        self.fleet.clock.after(15.0, lambda: broker.link.mend(client))

    def _drain(self) -> None:
        """Let the last acks arrive, and whoever is away come back."""
        end = self.fleet.clock.now + 2 * AWAY_S + 400
        while self.fleet.clock.now < end:
            try:
                if not self.fleet.clock.step():
                    return
            except Killed as death:
                self._bury(str(death))

    def _bury(self, actor: str) -> None:
        if actor not in self.fleet.running:
            return  # it is dead already, and will be back
        if actor == "coordinator":
            self.fleet.kill_coordinator()
        else:
            self.fleet.kill_box(actor)
        self.fleet.clock.after(AWAY_S, lambda: self._start(actor))

    def _start(self, actor: str) -> None:
        try:
            if actor == "coordinator":
                self.fleet.start_coordinator()
            else:
                self.fleet.start_box(actor, _rows_of(self._home, actor), seconds=20.0)
        except Killed as death:
            self._bury(str(death))

    def _summed(self) -> _End:
        store = self.fleet.store
        assert store is not None
        done = [row for row in store.rounds(JOB) if row.outcome == "done"]
        figures = [msgspec.json.decode(row.result, type=Figures) for row in done]
        rounds = tuple(
            (row.kind, row.round, row.included, figure.rows)
            for row, figure in zip(done, figures, strict=True)
        )
        model: Any = store.model(JOB, "model")
        waiting = sum(len(look_at(self._home / name).updates) for name in NAMES)
        return _End(model.digest, rounds, waiting)


def _join(home: Path) -> None:
    """A fleet whose boxes have joined and whose processes are down."""
    home.mkdir(parents=True)
    fleet = Fleet(home, Link(0))
    fleet.start_coordinator()
    for number, name in enumerate(NAMES):
        X = np.random.default_rng(number).normal(size=(ROWS, 2)) + 0.3 * number
        lines = [f"{a},{b},{'high' if a + b > 0 else 'low'}" for a, b in X]
        (home / f"{name}.csv").write_text("a,b,level\n" + "\n".join(lines))
        fleet.add_box(name, _rows_of(home, name))
    for name in NAMES:
        fleet.kill_box(name)
    fleet.kill_coordinator()


def _rows_of(home: Path, name: str) -> config.EdgeConfig:
    return config.EdgeConfig(data=config.Data(source=str(home / f"{name}.csv")))


def _task(table: RoundsTable) -> TaskFile:
    return TaskFile(
        job=JOB,
        data=Data(classes=("low", "high"), columns=("a", "b"), components=0),
        model=Model(reps=1),
        training=Train(steps=1, learning_rate=0.2),
        rounds=table,
    )


def _verdict(cuts: Sequence[Cut], failures: Sequence[str], table: RoundsTable) -> Verdict:
    states: Counter[str] = Counter()
    rules = set()
    for cut in cuts:
        for state in cut.step.state.split("/"):
            states[state] += 1
            rules.add((state, cut.step.event))
    tables = [*BOX_TABLE, *ROUND_TABLE, *(BUFFERED_TABLE if table.kind == "async" else ())]
    known = {(state.value, event.__name__) for state, event in tables}
    return Verdict(
        cuts=len(cuts),
        by_kind=dict(Counter(cut.kind for cut in cuts)),
        states=dict(sorted(states.items())),
        rules=len(rules & known),
        rules_in_all=len(known),
        failures=tuple(failures),
    )
