"""How many steps a box is given next, from how its model stands to its teacher: five rules.

They are those of LLM-QFL (Gurung and Pokhrel 2025, arXiv 2505.18656, as its code has them). With
r = the model's loss / the teacher's loss, both means in nats over the same validation rows of the
same box, a box that is behind its teacher (r > 1) gets more steps. The paper's rules never take
steps away again; with `lower`, each has a second half for a box ahead of its teacher (r < 1),
which meets `steps` at r = 1 and never passes it.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import Struct

MAX_RATIO = 1e6
"""A teacher without any loss is as far ahead as one can be."""


class Regulation(Struct, frozen=True, kw_only=True):
    """Which rule, and its bounds; fixed when a job starts."""

    rule: str = "fixed"
    lower: bool = False
    """Whether a box ahead of its teacher gets fewer steps."""
    least: int = 1
    most: int = 100
    jump: int = 30
    """The largest rise of the rule `hybrid` in one round."""
    first_round: int = 3
    """Before it every box does the task's own steps."""


class Rule(NamedTuple):
    """Of steps, ratio and the largest rise: the next steps, not yet bounded."""

    behind: Callable[[int, float, int], float]
    ahead: Callable[[int, float, int], float]


RULES: Mapping[str, Rule] = {
    "fixed": Rule(lambda k, _r, _j: k, lambda k, _r, _j: k),
    "incremental": Rule(
        lambda k, r, _: k + math.floor(k * (r - 1)),
        lambda k, r, _: k - math.floor(k * (1 - r)),
    ),
    "dynamic-weighted": Rule(
        lambda k, r, _: math.floor(0.5 * k + 0.5 * k * r),
        lambda k, r, _: math.ceil(0.5 * k + 0.5 * k * r),
    ),
    "logarithmic": Rule(
        lambda k, r, _: k + math.floor(k * math.log(1 + r)),
        lambda k, r, _: k - math.floor(k * math.log(2 - r)),
    ),
    "adaptive": Rule(
        lambda k, r, _: math.floor(k * r),
        lambda k, r, _: math.ceil(k * r),
    ),
    "hybrid": Rule(
        lambda k, r, jump: k + min(math.floor(k * r), jump),
        lambda k, r, jump: k - min(math.floor(k * (1 - r)), jump),
    ),
}


def regulate(regulation: Regulation, steps: int, loss: float, teacher_loss: float) -> int:
    """The steps after `steps`, from the losses of model and teacher on the same rows."""
    behind, ahead = RULES[regulation.rule]
    ratio = loss / teacher_loss if teacher_loss > 0 else MAX_RATIO
    if loss > teacher_loss:
        return min(int(behind(steps, min(ratio, MAX_RATIO), regulation.jump)), regulation.most)
    if loss < teacher_loss and regulation.lower:
        return max(int(ahead(steps, max(ratio, 0.0), regulation.jump)), regulation.least)
    return steps
