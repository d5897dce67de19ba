"""A task file (TOML) to a task and its rounds' rules, with errors that name the key."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from coordinator.execution import check_execution
from coordinator.jobstate import Rules
from coordinator.selection.scorers import SCORERS
from coordinator.taskmodel import Model, classifier_of
from proto.circuit import check_classifier
from proto.codec import validate
from proto.errors import ConfigError, QfleetError
from proto.messages import (
    ID_PATTERN,
    DataSpec,
    Execution,
    OptimiserName,
    Task,
    Training,
)
from quantization.moments import MAX_COLUMNS

MAX_FILE = 256 * 1024
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Name = Annotated[str, Meta(pattern=ID_PATTERN)]
TIME = r"^(\d+(?:\.\d+)?)([smhd])\Z"
LONGEST = 30 * 86400.0
"""Seconds a round may be given at most."""

ROBUST = 3
"""Boxes below which no majority can outvote a bad one."""

Time = Annotated[str, Meta(pattern=TIME)]


class Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: a key it does not know is an error."""


class Data(Strict, frozen=True):
    classes: Annotated[tuple[str, ...], Meta(min_length=2)]
    columns: tuple[str, ...]
    components: Annotated[int, Meta(ge=0, le=12)] = 4
    min_rows: Annotated[int, Meta(ge=1)] = 20
    validation: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.2


class Train(Strict, frozen=True):
    optimiser: OptimiserName = "adam"
    steps: Annotated[int, Meta(ge=1, le=100_000)] = 20
    learning_rate: Annotated[float, Meta(gt=0.0, le=10.0)] = 0.1
    decay: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Factor on the rate from round to round; left out, the rate ends at a quarter."""
    batch: Annotated[int, Meta(ge=0)] = 0
    bits: Literal[8, 32] = 8
    block: Annotated[int, Meta(ge=1, le=4096)] = 64
    personal_head: bool = False


class RoundsTable(Strict, frozen=True):
    count: Annotated[int, Meta(ge=1, le=100_000)] = 15
    cohort: Annotated[int, Meta(ge=0, le=100_000)] = 0
    quorum: Annotated[int, Meta(ge=1, le=100_000)] = 2
    deadline: Time = "2m"
    gather: Time = "30s"
    policy: str = "stalest"
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    patience: Annotated[int, Meta(ge=0)] = 0
    min_gain: Annotated[float, Meta(ge=0.0)] = 0.001
    target: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    aggregation: Literal["mean", "fedadam", "trimmed-mean", "median"] = "mean"
    server_rate: Annotated[float, Meta(gt=0.0, le=10.0)] = 0.1


class TaskFile(Strict, frozen=True):
    """The whole file. `examples/` has one that runs."""

    job: Name
    data: Data
    model: Model = Model()
    training: Train = Train()
    rounds: RoundsTable = RoundsTable()


def read(path: Path) -> TaskFile:
    """Raises ConfigError that names the key and what it would accept."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise ConfigError(f"{path} is larger than {MAX_FILE} bytes; it is no task file")
        file = msgspec.toml.decode(path.read_bytes(), type=TaskFile)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {str(error).replace('`$.', '`')}") from None
    if file.rounds.policy not in SCORERS:
        raise ConfigError(f"{path}: rounds.policy is one of {', '.join(sorted(SCORERS))}")
    return file


def task_of(file: TaskFile, fleet: str, serial: int) -> Task:
    """What the boxes are told. Raises ConfigError."""
    data = file.data
    features = data.components or len(data.columns)
    if data.components > len(data.columns):
        raise ConfigError(f"data.components is at most the number of columns, {len(data.columns)}")
    if data.components and len(data.columns) > MAX_COLUMNS:
        raise ConfigError(f"components are fitted on at most {MAX_COLUMNS} data.columns")
    task = Task(
        fleet=fleet,
        job=file.job,
        serial=serial,
        model=classifier_of(file.model, features, len(data.classes)),
        data=DataSpec(
            columns=data.columns,
            classes=data.classes,
            components=data.components,
            min_rows=data.min_rows,
            validation=data.validation,
        ),
        training=Training(
            steps=file.training.steps,
            learning_rate=file.training.learning_rate,
            decay=file.training.decay or 0.25 ** (1 / max(1, file.rounds.count - 1)),
            batch=file.training.batch,
            bits=file.training.bits,
            block=file.training.block,
            optimiser=file.training.optimiser,
            personal_head=file.training.personal_head,
        ),
        execution=Execution(
            backend=file.model.backend,
            shots=file.model.shots,
            noise=file.model.noise,
            shot_budget=file.model.shot_budget,
            simulated_rounds=file.model.simulated_rounds,
        ),
    )
    if 0 < file.rounds.count <= file.model.simulated_rounds:
        raise ConfigError("model.simulated_rounds leaves model.backend none of rounds.count")
    try:
        validate(task)
        check_classifier(task.model)
        check_execution(task)
    except QfleetError as error:
        raise ConfigError(f"this task cannot be offered: {error}") from None
    return task


def rules_of(file: TaskFile) -> Rules:
    table = file.rounds
    if 0 < table.cohort < table.quorum:
        raise ConfigError(f"rounds.quorum is at most rounds.cohort, {table.cohort}")
    if table.aggregation in ("trimmed-mean", "median") and table.quorum < ROBUST:
        raise ConfigError(f"rounds.quorum is at least {ROBUST} for a {table.aggregation}")
    if not 1.0 <= seconds(table.deadline) <= LONGEST:
        raise ConfigError("rounds.deadline is from 1s to 30d")
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
        server_rate=table.server_rate,
    )


def seconds(text: str) -> float:
    """A length of time ("90s", "2m", "1.5h", "1d") in seconds."""
    match = re.match(TIME, text)
    if match is None:
        raise ConfigError(f"{text!r} is no length of time: write 90s, 2m, 1.5h or 1d")
    return float(match[1]) * UNITS[match[2]]
