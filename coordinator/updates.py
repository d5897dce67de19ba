"""An update as the store keeps it, and what is folded of it: values only."""

from msgspec import Struct

from proto.messages import Metrics


class Part(Struct):
    """What one update brings to a round's result."""

    rows: int
    payload: bytes
    metrics: Metrics | None
    stale: int = 0
    """Steps the model has taken since the one this update was made from."""


class Kept(Part, kw_only=True):
    """All that is kept of an update: the columns of the table `updates`.

    A store forgets its payload once the round is closed.
    """

    id: bytes
    turn: int
    """That it is counted in ..."""
    made: int
    """... and that asked for it."""
    asked: float | None
    """When, of an asynchronous job."""
    box: str
    received: float
    epoch: bytes
    sequence: int
