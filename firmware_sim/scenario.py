"""A scenario: a whole fleet and what happens to it, as a TOML file.

Everything about a run but its seed is in here, so that two runs of one scenario and seed are one
run. `examples/fleets/` has ten that are ready.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from coordinator.gatefile import read_gates
from coordinator.jobstate import FEDBUFF
from coordinator.kinds import ModelTable
from coordinator.selection.forest import Student
from coordinator.selection.scorers import AGENT, POLICIES
from coordinator.selection.steps import STEP_RULES
from coordinator.taskadapter import AdapterModel
from coordinator.taskfile import (
    Data,
    RoundsTable,
    Selection,
    Steps,
    TaskFile,
    Time,
    Train,
    look_at_agent,
    rules_of,
    seconds,
)
from coordinator.taskmodel import Model
from coordinator.weightsfile import read_weights
from firmware_sim import tomlfile
from firmware_sim.behaviour import PRESETS, Behaviour, Share
from firmware_sim.boards import profiles
from firmware_sim.hidden import FAULTS
from firmware_sim.links import kinds
from firmware_sim.script import BrokerDown, Entry, KillCoordinator, moment_s
from firmware_sim.tomlfile import refuse
from proto.errors import ConfigError

MAX_CLIENTS = 100_000
LONGEST = 366 * 86400.0
"""Seconds that a run may last."""
BUFFER_SHARE = 0.5
"""Of a synchronous cohort, the updates that a step of FedBuff takes."""
Count = Annotated[int, Meta(ge=1, le=MAX_CLIENTS)]
Mix = str | dict[str, Annotated[float, Meta(gt=0.0, le=1e6)]]
"""One name, or names with their weights."""
NO_PATH = (OSError, RuntimeError, ValueError)
"""Of a name that is none of a file: too long, a link to itself, with a zero byte."""
Rows = Annotated[int, Meta(ge=20, le=100_000)]
Source = Annotated[
    str, Meta(pattern=r"^(sensors|sklearn:[a-z_]+)\Z", description="sensors, or sklearn:NAME")
]
TimeOfDay = Annotated[
    str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d\Z", description="a time of day such as 09:30")
]


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a key it does not know is an error."""


class Group(Table, frozen=True):
    """Clients of one sort."""

    name: Annotated[
        str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z", description="1 to 32 of a-z, 0-9 and -")
    ]
    count: Count
    board: Mix
    link: Mix = "wifi"
    behaviour: str | Behaviour = "mains"
    rows: tuple[Rows, Rows] = (40, 120)
    """Rows each client holds, in a few sizes evenly between these (generated data only)."""


class Work(Table, frozen=True):
    """What is trained, and on what. `data` is "sensors" (generated) or "sklearn:NAME"."""

    data: Source = "sensors"
    skew: Annotated[float, Meta(gt=0.0, le=1000.0)] = 0.5
    """Dirichlet's alpha: how unevenly classes are dealt; small is uneven."""
    noisy: Share = 0.0
    """Share of clients that have half of their labels wrong."""
    components: Annotated[int, Meta(ge=1, le=12)] = 4
    target: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.9
    """Test accuracy that "to target" means."""
    model: ModelTable = Model()
    training: Train = Train()
    steps: Steps = Steps()
    rounds: RoundsTable = RoundsTable()
    selection: Selection = Selection()
    """A policy's constants, budgets and weights; a file of weights lies beside the scenario."""
    weights: Student | None = None
    """What the file selection.weights holds; no key of a scenario."""
    effort: Annotated[float, Meta(gt=0.0, le=1e6)] = 1.0
    """Training costs boards so many times what it would: a light model stands for a heavy one."""
    objective: Annotated[str, Meta(max_length=200)] = ""
    """What the owner wants, in a sentence."""
    costs_like: Literal["circuit", "adapter"] = "circuit"
    """"adapter": time, energy and memory of an adapter on as many texts; bytes stay a circuit's."""
    memory_mib: Annotated[int, Meta(ge=1, le=2**20)] | None = None
    """What training takes; left out, by what its kind costs (costs.toml)."""


class Hidden(Table, frozen=True, rename="kebab"):
    """Share of clients that get each hidden fault, and of those who write what only sounds bad."""

    weak_supply: Share = 0.0
    dying_card: Share = 0.0
    memory_leak: Share = 0.0
    blocked_fan: Share = 0.0
    metered_link: Share = 0.0
    decoys: Share = 0.3
    """Share of clients, healthy or not, who write many decoy, negated and stale lines."""
    within: Time = "6h"
    """Faults begin evenly between so long before the start and so long after it."""


class Scenario(Table, frozen=True, kw_only=True):
    """The whole file."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    about: str = ""
    starts: TimeOfDay = "09:00"
    """Time of day at the start."""
    lasts: Time = "24h"
    """The run ends then at the latest."""
    sealing: Literal["real", "costed"] = "real"
    """Whether frames are really sealed, or only paid for (huge fleets)."""
    group: Annotated[tuple[Group, ...], Meta(min_length=1)]
    work: Work = Work()
    hidden: Hidden = Hidden()
    journals: bool = False
    """Whether owners let their boxes' journals out with reports."""
    notes: bool = True
    """Whether operators write notes."""
    wordings: Literal["all", "taught", "held-out"] = "all"
    """Families of templates that journals and notes are written from (journal.py)."""
    script: tuple[Entry, ...] = ()

    @property
    def clients(self) -> int:
        return sum(group.count for group in self.group)

    @property
    def day_start_s(self) -> float:
        return moment_s(self.starts)


def read(path: Path) -> Scenario:
    """Raises ConfigError that names the key, its value and what is accepted."""
    scenario = tomlfile.read(path, Scenario, partial(_whole, path.parent))
    try:
        if name := scenario.work.selection.weights:
            work = _student(scenario.work, path.parent / name)
            scenario = msgspec.structs.replace(scenario, work=work)
        check(scenario)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return scenario


def _student(work: Work, file: Path) -> Work:
    """With the student its file holds, or where an agent's adapter lies."""
    try:
        if work.rounds.policy == AGENT or file.suffix == ".gguf":
            look_at_agent(file.resolve())
            selection = msgspec.structs.replace(work.selection, weights=str(file.resolve()))
            return msgspec.structs.replace(work, selection=selection)
        return msgspec.structs.replace(work, weights=read_weights(file))
    except (ConfigError, *NO_PATH) as error:
        accepted = f"a student's file beside the scenario, see `coordinator distill` ({error})"
        refuse("work.selection.weights", work.selection.weights, accepted)


def parse(text: str) -> Scenario:
    """A scenario from the text of its file. Raises ConfigError."""
    scenario = tomlfile.decode(text.encode(), Scenario, _with_kind)
    check(scenario)
    return scenario


def check(scenario: Scenario) -> None:
    """What types cannot say. Raises ConfigError."""
    names = [group.name for group in scenario.group]
    for at, group in enumerate(scenario.group):
        _check_group(f"group[{at}]", group, names[:at])
    if scenario.clients > MAX_CLIENTS:
        refuse("group", f"{scenario.clients} clients", f"at most {MAX_CLIENTS} in all")
    if not 0 < seconds(scenario.lasts) <= LONGEST:
        refuse("lasts", scenario.lasts, "a length of time above 0, to 366d")
    work = scenario.work
    if work.rounds.policy not in POLICIES:
        refuse("work.rounds.policy", work.rounds.policy, POLICIES)
    if work.steps.rule not in STEP_RULES:
        refuse("work.steps.rule", work.steps.rule, STEP_RULES)
    if work.rounds.cohort > scenario.clients:
        refuse("work.rounds.cohort", work.rounds.cohort, f"at most {scenario.clients}, all clients")
    if work.rounds.concurrency > scenario.clients:
        accepted = f"at most {scenario.clients}, all clients"
        refuse("work.rounds.concurrency", work.rounds.concurrency, accepted)
    if work.rounds.quorum > (work.rounds.cohort or scenario.clients):
        refuse("work.rounds.quorum", work.rounds.quorum, "at most the cohort")
    if work.training.personal_head:
        refuse("work.training.personal_head", "true", "false: emulated boxes keep no files")
    _check_rules(work)
    ill = sum(getattr(scenario.hidden, name.replace("-", "_")) for name in FAULTS)
    if ill > 1:
        refuse("hidden", f"shares that add up to {ill:g}", "shares of at most 1 in all")
    for at, entry in enumerate(scenario.script):
        _check_entry(f"script[{at}]", entry, scenario)


def with_policy(scenario: Scenario, policy: str, weights: Student | None = None) -> Scenario:
    """The same scenario under another policy, a student's with its weights. Raises ConfigError."""
    if policy not in (*POLICIES, FEDBUFF):
        refuse("policy", policy, (*POLICIES, FEDBUFF))
    rounds = msgspec.structs.replace(scenario.work.rounds, policy=policy)
    if policy == FEDBUFF:
        rounds = asynchronous(scenario.work.rounds, scenario.clients)
    selection = scenario.work.selection
    if policy == AGENT and scenario.work.weights is not None:
        selection = msgspec.structs.replace(selection, weights="")  # it names no agent's file
    work = msgspec.structs.replace(
        scenario.work,
        rounds=rounds,
        selection=selection,
        weights=weights or scenario.work.weights,
    )
    _check_rules(work)
    return msgspec.structs.replace(scenario, work=work)


def asynchronous(rounds: RoundsTable, clients: int) -> RoundsTable:
    """FedBuff in place of these rounds: as many boxes at work at once, and as many updates in all.

    Boxes are drawn by lots, as in the paper.
    """
    if rounds.kind == "async":
        return msgspec.structs.replace(rounds, policy="random")
    cohort = rounds.cohort or clients
    buffer = max(1, round(cohort * BUFFER_SHARE))
    more = cohort / buffer
    return msgspec.structs.replace(
        rounds,
        kind="async",
        policy="random",
        cohort=0,
        concurrency=cohort,
        buffer=buffer,
        count=round(rounds.count * more),
        patience=round(rounds.patience * more),
    )


def task_file(scenario: Scenario, classes: tuple[str, ...], columns: tuple[str, ...]) -> TaskFile:
    """The task that this fleet's coordinator is handed."""
    work = scenario.work
    if isinstance(work.model, AdapterModel):
        data = Data(classes=classes, text=columns[-1], components=0)
    else:
        components = min(work.components, len(columns))
        data = Data(classes=classes, columns=columns, components=components)
    return _task(work, data)


def _task(work: Work, data: Data) -> TaskFile:
    return TaskFile(
        job="fleet",
        data=data,
        model=work.model,
        training=work.training,
        steps=work.steps,
        rounds=work.rounds,
        selection=work.selection,
        weights=work.weights,
        objective=work.objective,
    )


def _whole(folder: Path, tables: dict[str, Any]) -> dict[str, Any]:
    """With its kind, and the gates that a file beside the scenario holds. Raises ConfigError."""
    found = _with_kind(tables)
    work = found.get("work")
    model = work.get("model") if isinstance(work, dict) else None
    if isinstance(model, dict) and isinstance(name := model.get("gates"), str):
        try:
            model["gates"] = msgspec.to_builtins(read_gates(folder / name))
        except (ConfigError, *NO_PATH) as error:
            refuse("work.model.gates", name, f"a file of gates beside the scenario ({error})")
    return found


def _with_kind(tables: dict[str, Any]) -> dict[str, Any]:
    """A model is a circuit unless it says otherwise; weights come from a file of their own."""
    work = tables.get("work")
    if isinstance(work, dict) and isinstance(work.get("model"), dict):
        work["model"].setdefault("kind", "circuit")
    if isinstance(work, dict) and "weights" in work:
        refuse("work.weights", "there", "the name of a file as work.selection.weights")
    return tables


def _check_rules(work: Work) -> None:
    data = Data(classes=("no", "yes"), columns=("x",), components=0)
    try:
        rules_of(_task(work, data))
    except ConfigError as error:
        raise ConfigError(f"work.{error}") from None


def _check_group(key: str, group: Group, taken: list[str]) -> None:
    if group.name in taken:
        refuse(f"{key}.name", group.name, "a name that no other group has")
    for what, mix, known in (("board", group.board, profiles()), ("link", group.link, kinds())):
        for name in [mix] if isinstance(mix, str) else mix:
            if name not in known:
                refuse(f"{key}.{what}", name, known)
        if not mix:
            refuse(f"{key}.{what}", "an empty table", "names with their weights")
    if isinstance(group.behaviour, str) and group.behaviour not in PRESETS:
        accepted = f"{', '.join(PRESETS)}, or a table of its own"
        refuse(f"{key}.behaviour", group.behaviour, accepted)
    if group.rows[0] > group.rows[1]:
        refuse(f"{key}.rows", list(group.rows), "the smaller number first")


def _check_entry(key: str, entry: Entry, scenario: Scenario) -> None:
    state = getattr(entry, "state", None)
    if entry.at is None and state is None:
        refuse(f"{key}.at", "nothing", "a moment such as 00:10 or 90s")
    if entry.at is not None and moment_s(entry.at) > seconds(scenario.lasts):
        refuse(f"{key}.at", entry.at, f"a moment within the {scenario.lasts} of the run")
    if isinstance(entry, BrokerDown | KillCoordinator):
        return
    named = [n for n in ("clients", "share", "group") if getattr(entry, n)]
    if len(named) != 1:
        refuse(key, " and ".join(named) or "nobody", "exactly one of clients, share and group")
    if any(number > scenario.clients for number in entry.clients):
        refuse(f"{key}.clients", list(entry.clients), f"numbers from 1 to {scenario.clients}")
    if entry.group and entry.group not in [group.name for group in scenario.group]:
        refuse(f"{key}.group", entry.group, [group.name for group in scenario.group])
