"""The few numbers a selection method leaves open, each with its paper's value where it has one."""

from typing import Annotated

from msgspec import Meta, Struct

Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table [selection.METHOD] of a task file."""


class FedCS(Table, frozen=True):
    seconds: Annotated[float, Meta(ge=0.0, le=30 * 86400.0)] = 0.0
    """What a round should take; 0 is half the rounds' deadline."""


class TiFL(Table, frozen=True):
    tiers: Annotated[int, Meta(ge=1, le=50)] = 5


class PowerOfChoice(Table, frozen=True):
    draw: Annotated[float, Meta(ge=1.0, le=100.0)] = 3.0
    """Boxes drawn, in cohorts."""


class Oort(Table, frozen=True):
    penalty: Annotated[float, Meta(ge=0.0, le=10.0)] = 2.0
    """Exponent on how much slower than preferred a box is (alpha in the paper)."""
    percentile: Annotated[float, Meta(ge=0.0, le=100.0)] = 50.0
    """Of the known durations: the preferred one."""


class EAFL(Table, frozen=True):
    utility: Share = 0.25
    """Weight of Oort's utility against the battery (f in the paper)."""


class REFL(Table, frozen=True):
    window: Annotated[float, Meta(gt=0.0, le=100.0)] = 2.0
    """Rounds ahead in which a box should still be there."""


class Agent(Table, frozen=True):
    """A language model that reads reports; seconds bound it where time is real."""

    seconds: Annotated[float, Meta(gt=0.0, le=3600.0)] = 20.0
    """An answer that takes longer comes too late."""
    prompts: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """New questions it is asked in one round at most; 0 sets no bound."""
    stop: Share = 0.0
    """The job ends when the agent's chance that it has learned enough reaches this; 0 never."""


class Constants(Table, frozen=True):
    """All of them; fixed when a job starts."""

    least_score: Share = 0.0
    """Of scores that are chances: a box below it is asked only to have the quorum and `spare`."""
    spare: Annotated[int, Meta(ge=0, le=100_000)] = 1
    """Boxes above the quorum that are asked however low their scores, as one may fail."""
    alike: Share = 0.03
    """Scores that are chances are told apart in steps so wide; within one, who has waited longest
    goes first. 0 tells all apart."""
    fedcs: FedCS = FedCS()
    tifl: TiFL = TiFL()
    power_of_choice: PowerOfChoice = PowerOfChoice()
    oort: Oort = Oort()
    eafl: EAFL = EAFL()
    refl: REFL = REFL()
    agent: Agent = Agent()
