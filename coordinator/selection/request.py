"""What a plan is asked for: whose scores, how many boxes, within what bounds."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

from coordinator.selection.advice import Advice
from coordinator.selection.constants import Constants
from coordinator.selection.forest import Student
from coordinator.selection.regulators import Regulation


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What no scorer may exceed; 0 sets no bound."""

    bytes: Annotated[int, Meta(ge=0, le=2**50)] = 0
    """Up and down, of all boxes in one training round."""
    asks: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Training rounds one box may be asked for in the whole job."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The task's own steps, and what may change them in this round; 0 steps: nothing may."""

    steps: int = 0
    round: int = 0
    regulation: Regulation = Regulation()  # noqa: RUF009 - frozen, so one default serves all


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be planned: a scorer's name, cohort size (0: everyone), seed and turn."""

    scorer: str
    size: int
    seed: int
    turn: int
    pace: Pace = Pace()
    deadline: float = 0.0
    """Seconds a round is given; 0 where that is not known."""
    bytes_each: int = 0
    """Expected traffic of one box, up and down; 0 where that is not known."""
    budget: Budget = Budget()  # noqa: RUF009 - frozen, so one default serves all
    constants: Constants = Constants()  # noqa: RUF009 - likewise
    weights: Student | None = None
    """Of the scorer `linear`."""
    advice: Advice | None = None
    """What a model answered, now or in a plan that is played again."""
    quorum: int = 0
    """Updates without which a round counts nothing."""
    served: int = 0
    """Boxes that a turn takes in all, where they are asked bit by bit; 0: as many as `size`."""
    busy: int = 0
    """Boxes at work, who are not asked now; 0 where all are asked at once."""
