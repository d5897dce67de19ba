"""What a teacher thought best, round by round: the lines of a decisions.jsonl, version 1.

The first line is a `Header`, each further one a `Decision`. `fleet teach` writes such files where
the whole future is known, `coordinator distill` makes students of them; docs/selection.md lists the
fields. Numbers are those of `coordinator/selection/features.py`, by name.
"""

import math
from typing import Annotated

from msgspec import Meta, Struct

from coordinator.selection.edges import Edges
from proto.messages import Id, Text
from proto.resources import MAX_JOURNAL, JournalLine

FORMAT, VERSION = "qfleet-decisions", 1
STEP_CLASSES = 4
MAX_SCENARIOS = 1000

Chance = Annotated[float, Meta(ge=0.0, le=1.0)]
Label = Annotated[str, Meta(max_length=100)]


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the decisions come from."""

    format: str
    version: int
    teacher: Annotated[str, Meta(max_length=200)]
    seed: Annotated[int, Meta(ge=0)]
    scenarios: Annotated[tuple[Label, ...], Meta(max_length=MAX_SCENARIOS)] = ()
    steps: Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(max_length=STEP_CLASSES)] = ()
    """The steps that the classes of `Client.steps` stand for."""

    def __post_init__(self) -> None:
        if self.format != FORMAT or self.version != VERSION:
            raise ValueError(f"not decisions of version {VERSION}")


class Client(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One box that could have been asked, and how good that would have been."""

    box: Id
    features: Annotated[dict[Label, float | None], Meta(max_length=64)]
    join: Chance
    """The share of good futures in which it was asked."""
    finish: Chance | None = None
    """The share in which it delivered in time, asked or not."""
    worth: Chance | None = None
    """How well it alone would do if asked: a half is ordinary, 0 never delivers."""
    steps: Annotated[tuple[Chance, ...], Meta(max_length=STEP_CLASSES)] = ()
    """How often each class of steps was the best."""
    note: Text = ""
    journal: Annotated[tuple[JournalLine, ...], Meta(max_length=MAX_JOURNAL)] = ()

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in self.features.values() if x is not None):
            raise ValueError("a feature is not a finite number")


class Decision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One round of one fleet, with every box that coverage left to choose among."""

    fleet: Label
    """Scenario and seed: decisions of one fleet are never split between training and validation."""
    round: Annotated[int, Meta(ge=1)]
    cohort: Annotated[int, Meta(ge=1)]
    clients: Annotated[tuple[Client, ...], Meta(min_length=1, max_length=10_000)]
    objective: Text = ""
    prices: Annotated[dict[Label, Chance], Meta(max_length=16)] = {}
    """What the objective made time, energy, bytes and fairness worth to the teacher."""
    stop: Chance | None = None
    """The share of futures in which this was the moment to stop."""
    edges: Edges | None = None
    """Of the job's words."""
    progress: Annotated[dict[Label, float | None], Meta(max_length=32)] = {}
    """How the job stood: the numbers of coordinator/selection/progress.py."""
