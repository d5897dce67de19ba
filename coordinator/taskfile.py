"""A task file (TOML) to a task and its rounds' rules, with errors that name the key."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from coordinator.execution import check_execution
from coordinator.gatefile import read_gates
from coordinator.jobstate import Rules
from coordinator.kinds import ModelTable, check_fits, execution_of, model_of
from coordinator.selection.constants import Constants
from coordinator.selection.forest import Student
from coordinator.selection.prompt import MAX_OBJECTIVE
from coordinator.selection.regulators import Regulation
from coordinator.selection.request import Budget
from coordinator.selection.scorers import AGENT, LEARNED, POLICIES
from coordinator.selection.steps import STEP_RULES
from coordinator.taskadapter import AdapterModel
from coordinator.taskhybrid import HybridModel
from coordinator.taskmodel import Model
from coordinator.taskrounds import RoundsTable as RoundsTable  # noqa: PLC0414 - named here for all
from coordinator.taskrounds import Time as Time  # noqa: PLC0414 - likewise
from coordinator.taskrounds import check_rounds
from coordinator.taskrounds import seconds as seconds  # noqa: PLC0414 - likewise
from coordinator.weightsfile import read_weights
from proto.adapter import Adapter
from proto.codec import validate
from proto.errors import ConfigError, QfleetError
from proto.messages import (
    ID_PATTERN,
    DataSpec,
    OptimiserName,
    Task,
    Training,
)
from quantization.moments import MAX_COLUMNS

MAX_FILE = 256 * 1024

Name = Annotated[str, Meta(pattern=ID_PATTERN)]


class Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: a key it does not know is an error."""


class Data(Strict, frozen=True):
    classes: Annotated[tuple[str, ...], Meta(min_length=2)]
    columns: tuple[str, ...] = ()
    text: Annotated[str, Meta(max_length=100)] = ""
    """The column that holds a row's text."""
    components: Annotated[int, Meta(ge=0, le=12)] | None = None
    """Left out: 4 of columns that are fed to a circuit, none where a text is read."""
    min_rows: Annotated[int, Meta(ge=1)] = 20
    validation: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.2
    varied: bool = False
    """Whether to refuse boxes with rows of one class alone, or a column that never changes."""


class Train(Strict, frozen=True):
    optimiser: OptimiserName = "adam"
    steps: Annotated[int, Meta(ge=1, le=100_000)] = 20
    learning_rate: Annotated[float, Meta(gt=0.0, le=10.0)] = 0.1
    decay: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Factor on the rate from round to round; left out, the rate ends at a quarter."""
    batch: Annotated[int, Meta(ge=0, le=2**20)] | None = None
    """Rows a step, 0 for all of them; left out, all for a circuit and 8 for an adapter."""
    bits: Literal[2, 4, 8, 32] = 8
    block: Annotated[int, Meta(ge=1, le=4096)] = 64
    keep: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    feedback: bool | None = None
    """Left out: on where keep is below 1."""
    warmup: Annotated[int, Meta(ge=0, le=100_000)] = 0
    weight_decay: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    personal_head: bool = False


class Steps(Strict, frozen=True):
    """What may change a box's steps from round to round."""

    rule: str = "fixed"
    lower: bool = False
    least: Annotated[int, Meta(ge=1, le=100_000)] = 1
    most: Annotated[int, Meta(ge=1, le=100_000)] = 100
    jump: Annotated[int, Meta(ge=1, le=100_000)] = 30
    first_round: Annotated[int, Meta(ge=2, le=100_000)] = 3


class Selection(Constants, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Constants of the methods, and what binds them all."""

    budget: Budget = Budget()
    weights: str = ""
    """A file that `coordinator distill` wrote, beside the task file; for "linear", "gbm" and
    "agent"; the agent's own is in the package."""


class TaskFile(Strict, frozen=True):
    """The whole file. `examples/` has one that runs."""

    job: Name
    data: Data
    model: ModelTable = Model()
    training: Train = Train()
    steps: Steps = Steps()
    rounds: RoundsTable = RoundsTable()
    selection: Selection = Selection()
    objective: Annotated[str, Meta(max_length=MAX_OBJECTIVE)] = ""
    """What the owner wants, in a sentence; the policy "agent" reads it."""
    weights: Student | None = None
    """What the file selection.weights holds; no key of a task file."""


def read(path: Path) -> TaskFile:
    """Raises ConfigError that names the key and what it would accept."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise ConfigError(f"{path} is larger than {MAX_FILE} bytes; it is no task file")
        tables = msgspec.toml.decode(path.read_bytes())
        if isinstance(model := tables.get("model"), dict):
            model.setdefault("kind", "circuit")
            if isinstance(name := model.get("gates"), str):
                model["gates"] = msgspec.to_builtins(read_gates(path.parent / name))
        file = msgspec.convert(tables, type=TaskFile)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{path} has lists or tables within each other, too deep") from None
    except (msgspec.MsgspecError, ValueError) as error:  # of bytes, digits or a file's name
        raise ConfigError(f"{path}: {str(error).replace('`$.', '`')}") from None
    if file.weights is not None:
        raise ConfigError(f"{path}: weights is no key; name a file with selection.weights")
    if file.rounds.policy not in POLICIES:
        raise ConfigError(f"{path}: rounds.policy is one of {', '.join(sorted(POLICIES))}")
    if file.steps.rule not in STEP_RULES:
        raise ConfigError(f"{path}: steps.rule is one of {', '.join(STEP_RULES)}")
    if not file.selection.weights:
        return file
    if file.rounds.policy == AGENT:
        adapter = (path.parent / file.selection.weights).resolve()
        look_at_agent(adapter)
        selection = msgspec.structs.replace(file.selection, weights=str(adapter))
        return msgspec.structs.replace(file, selection=selection)
    return msgspec.structs.replace(file, weights=read_weights(path.parent / file.selection.weights))


def look_at_agent(adapter: Path) -> None:
    """Raises ConfigError now for what would leave every round to the hand rule later."""
    from coordinator.agent.engine import beside  # noqa: PLC0415 - few tasks name an agent

    if not adapter.is_file():
        raise ConfigError(
            f"selection.weights: there is no {adapter}; accepted: an adapter that"
            " `coordinator distill` wrote, or nothing for the one in the package"
        )
    beside(adapter)


def task_of(file: TaskFile, fleet: str, serial: int, taught: Adapter | None = None) -> Task:
    """What the boxes are told; `taught` is the adapter of the teacher's job. Raises ConfigError."""
    circuit, training = not isinstance(file.model, AdapterModel), file.training
    data = _data_of(file)
    task = Task(
        fleet=fleet,
        job=file.job,
        serial=serial,
        model=model_of(file.model, data, taught),
        data=data,
        training=Training(
            steps=training.steps,
            learning_rate=training.learning_rate,
            decay=training.decay or 0.25 ** (1 / max(1, file.rounds.count - 1)),
            batch=_batch(training.batch, circuit=circuit),
            bits=training.bits,
            block=training.block,
            optimiser=training.optimiser,
            keep=training.keep,
            feedback=training.keep < 1 if training.feedback is None else training.feedback,
            warmup=training.warmup,
            weight_decay=training.weight_decay,
            personal_head=training.personal_head,
        ),
        execution=execution_of(file.model),
    )
    if task.execution.simulated_rounds >= file.rounds.count:
        raise ConfigError("model.simulated_rounds leaves model.backend none of rounds.count")
    try:
        validate(task)
        check_fits(task)
        check_execution(task)
    except QfleetError as error:
        raise ConfigError(f"this task cannot be offered: {error}") from None
    return task


def _batch(batch: int | None, *, circuit: bool) -> int:
    return batch if batch is not None else (0 if circuit else 8)


def _data_of(file: TaskFile) -> DataSpec:
    data, hybrid = file.data, isinstance(file.model, HybridModel)
    columns = len(data.columns) + (file.model.sketch if isinstance(file.model, HybridModel) else 0)
    labels = len(data.classes) if isinstance(file.model, HybridModel) and file.model.labelled else 0
    components = data.components
    if components is None:
        components = 4 if hybrid or (isinstance(file.model, Model) and not data.text) else 0
    if not data.columns and not data.text:
        raise ConfigError("data.columns names no column, and data.text none either")
    if not all(data.classes) or len(set(data.classes)) != len(data.classes):
        raise ConfigError("data.classes holds an empty name, or one name twice")
    if hybrid and not components:
        raise ConfigError("data.components is at least 1 for a hybrid: a qubit for each")
    if components > columns:
        raise ConfigError(f"data.components is at most the number of columns, {columns}")
    if components and labels + columns > MAX_COLUMNS:
        raise ConfigError(f"components are fitted on at most {MAX_COLUMNS} data.columns")
    return DataSpec(
        columns=data.columns,
        classes=data.classes,
        components=components,
        min_rows=data.min_rows,
        validation=data.validation,
        text=data.text,
        varied=data.varied,
    )


def rules_of(file: TaskFile) -> Rules:
    table = file.rounds
    check_rounds(table, file.steps.rule, file.model)
    least, own, most = file.steps.least, file.training.steps, file.steps.most
    if file.steps.rule != "fixed" and not least <= own <= most:
        raise ConfigError(
            f"training.steps is {own}; accepted: from steps.least, {least}, to steps.most, {most}"
        )
    if table.policy in LEARNED and file.weights is None:
        raise ConfigError(
            "selection.weights is nothing; accepted: the file of a student for rounds.policy "
            f'"{table.policy}", see `coordinator distill`'
        )
    if file.steps.rule == AGENT != table.policy:
        raise ConfigError(
            f'rounds.policy is {table.policy}; accepted: agent, which steps.rule "agent" needs'
        )
    return Rules(
        rounds=table.count,
        cohort=table.cohort,
        quorum=table.quorum,
        deadline=seconds(table.deadline),
        gather=seconds(table.gather),
        scorer=table.policy,
        seed=table.seed,
        patience=table.patience,
        min_gain=table.min_gain,
        target=table.target,
        aggregation=table.aggregation,
        server_rate=table.server_rate or (0.1 if table.aggregation == "fedadam" else 1.0),
        steps=file.training.steps,
        regulation=Regulation(**msgspec.structs.asdict(file.steps)),
        gap=table.gap,
        plateau=table.plateau,
        budget=file.selection.budget,
        constants=Constants(
            **{name: getattr(file.selection, name) for name in Constants.__struct_fields__}
        ),
        weights=file.weights,
        objective=file.objective,
        adapter=file.selection.weights if table.policy == AGENT else "",
        buffer=table.buffer,
        concurrency=table.concurrency,
        max_staleness=table.max_staleness if table.kind == "async" else 0,
    )
