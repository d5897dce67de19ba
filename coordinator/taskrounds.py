"""The `[rounds]` table of a task file, and what in it goes together."""

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from coordinator.kinds import ModelTable
from coordinator.selection.steps import PACED
from coordinator.taskadapter import AdapterModel
from proto.errors import ConfigError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
TIME = r"^(\d{1,9}(?:\.\d{1,9})?)([smhd])\Z"
LONGEST = 30 * 86400.0
"""Seconds a round may be given at most."""
ROBUST = ("trimmed-mean", "median")
MAJORITY = 3
"""Boxes below which no majority can outvote a bad one."""

Time = Annotated[str, Meta(pattern=TIME, description="a length of time: 90s, 2m, 1.5h or 1d")]


class RoundsTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[rounds]`: how they go, and when they end."""

    count: Annotated[int, Meta(ge=1, le=100_000)] = 15
    cohort: Annotated[int, Meta(ge=0, le=100_000)] = 0
    quorum: Annotated[int, Meta(ge=1, le=100_000)] = 2
    deadline: Time = "2m"
    gather: Time = "30s"
    policy: str = "stalest"
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    patience: Annotated[int, Meta(ge=0, le=100_000)] = 0
    min_gain: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.001
    target: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    gap: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0
    plateau: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0
    aggregation: Literal["mean", "fedadam", "trimmed-mean", "median"] = "mean"
    server_rate: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    """Left out: 0.1 for FedAdam, else 1."""
    kind: Literal["sync", "async"] = "sync"
    concurrency: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Boxes that train at once, where rounds are asynchronous."""
    buffer: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Updates that a step of the model takes there."""
    max_staleness: Annotated[int, Meta(ge=0, le=100_000)] = 20
    """Steps the model may be past the one an update was made from."""


def seconds(text: str) -> float:
    """A length of time ("90s", "2m", "1.5h", "1d") in seconds."""
    match = re.match(TIME, text)
    if match is None:
        raise ConfigError(f"{text!r} is no length of time: write 90s, 2m, 1.5h or 1d")
    return float(match[1]) * UNITS[match[2]]


def check_rounds(table: RoundsTable, steps: str, model: ModelTable) -> None:
    """Raises ConfigError unless rounds, rule of steps and model go together."""
    least = model.least_rank if isinstance(model, AdapterModel) else 0
    if 0 < table.cohort < table.quorum:
        raise ConfigError(
            f"rounds.quorum is {table.quorum}; accepted: at most rounds.cohort, {table.cohort}"
        )
    if table.aggregation in ROBUST and table.quorum < MAJORITY:
        raise ConfigError(
            f"rounds.quorum is {table.quorum}; "
            f"accepted: at least {MAJORITY} for a {table.aggregation}"
        )
    if table.aggregation in ROBUST and least:
        raise ConfigError(
            f"model.least_rank is {least}; "
            f"accepted: 0 for a {table.aggregation}: all ranks are equal"
        )
    if _stacked(model) and table.server_rate not in (None, 1.0):
        raise ConfigError(
            f'rounds.server_rate is {table.server_rate:g}; accepted: 1 for model.combine "stacked"'
        )
    if not 1.0 <= seconds(table.deadline) <= LONGEST:
        raise ConfigError(f"rounds.deadline is {table.deadline}; accepted: from 1s to 30d")
    if table.kind == "async":
        _check_async(table, steps, model)
    elif table.buffer or table.concurrency:
        key = "buffer" if table.buffer else "concurrency"
        raise ConfigError(
            f"rounds.{key} is {table.buffer or table.concurrency}; accepted: 0, as rounds.buffer "
            'and rounds.concurrency are for rounds.kind "async"'
        )


def _check_async(table: RoundsTable, steps: str, model: ModelTable) -> None:
    if not table.buffer or not table.concurrency:
        key = "concurrency" if not table.concurrency else "buffer"
        raise ConfigError(
            f"rounds.{key} is 0; accepted: from 1, as "
            'rounds.kind "async" needs rounds.concurrency, the boxes that train at once, and '
            "rounds.buffer, the updates that a step of the model takes"
        )
    if table.cohort:
        raise ConfigError(
            f"rounds.cohort is {table.cohort}; accepted: 0, as "
            'rounds.cohort is for rounds.kind "sync": set rounds.concurrency'
        )
    if table.aggregation in ROBUST:
        raise ConfigError(
            f"rounds.aggregation is {table.aggregation}; accepted: mean or fedadam "
            'for rounds.kind "async": boxes that answer at once could be the majority of a buffer'
        )
    if _stacked(model):
        raise ConfigError(
            'model.combine is stacked; accepted: padded for rounds.kind "async", as it does not '
            "need the model that each update was made from"
        )
    if steps in PACED:
        accepted = 'a rule for rounds.kind "async", where no box waits for another'
        raise ConfigError(f"steps.rule is {steps}; accepted: {accepted}")


def _stacked(model: ModelTable) -> bool:
    return isinstance(model, AdapterModel) and model.combine == "stacked"
