"""What words in prompts mean in a job: where one ends and the next begins, and what is routine."""

from typing import Annotated

from msgspec import Meta, Struct

from coordinator.selection.gist import MAX_KEY

Four = tuple[float, float, float, float]


class Edges(Struct, frozen=True):
    """Fixed when the job starts, so that a prompt changes only when a box does."""

    of: dict[str, Four]
    """The edges of each feature's words, in its own units."""
    routine: tuple[Annotated[str, Meta(max_length=MAX_KEY)], ...] = ()
    """What many of the fleet's boxes write in their journals (coordinator/selection/gist.py)."""
