"""What a model answered about a round: the plan reads it, and a record keeps it for replays."""

from msgspec import Struct

from coordinator.selection.edges import Edges

SHARES = (0.5, 1.0, 2.0, 4.0)
"""The classes of steps, in parts of the task's own ..."""
OWN = SHARES.index(1.0)
"""... and the place of those themselves."""


class Part(Struct, frozen=True):
    """What made a score, in nats on the log-odds of being asked."""

    numbers: float
    """By the judge of numbers, with what is usually counted ..."""
    aim: float
    """... what the owner's objective changes in that ..."""
    words: float
    """... and by the language model, of what the box says; 0 where it says nothing."""


class Advice(Struct, frozen=True, kw_only=True):
    """Of the boxes that coverage leaves to choose among, and of the job."""

    scores: dict[str, float] | None = None
    """None where there is no answer; `remark` then says why."""
    steps: dict[str, int] = {}
    """Each box's class: a place in SHARES."""
    stop: float | None = None
    """The chance that further rounds gain too little; None where that was not asked."""
    remark: str = ""
    edges: Edges | None = None
    """What the words in the prompts mean in this job."""
    prefix: str = ""
    """What was asked, for those who want to know why: the part that all questions share ..."""
    questions: dict[str, str] = {}
    """... and each box's own; one that says nothing has none where numbers are judged apart."""
    prices: dict[str, float] = {}
    """What the objective counts, as it was read; empty where that was not asked."""
    parts: dict[str, Part] = {}
    """Of each score, where it has several."""
