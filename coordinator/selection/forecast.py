"""What a plan will cost, from what boxes did last: seconds of each box, bytes of the round."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from coordinator.selection.candidates import Candidate
from coordinator.selection.request import Request


class Forecast(Struct, frozen=True, kw_only=True):
    """Of a round. None where nothing is known."""

    seconds: float | None = None
    """Until the slowest of those whose pace is known has delivered ..."""
    slowest: str = ""
    """... and which that is."""
    bytes: int | None = None


def seconds_of(candidate: Candidate, steps: int = 0) -> float | None:
    """From offer to update, as the last time; `steps` other than then cost in proportion.

    That is high for a box whose time goes into the link.
    """
    past = candidate.past
    if past.seconds is None or not steps or not past.steps:
        return past.seconds
    return past.seconds * steps / past.steps


def forecast(chosen: Iterable[Candidate], steps: Mapping[str, int], request: Request) -> Forecast:
    """Of a cohort; `steps` names those that shall not do the task's own."""
    boxes = list(chosen)
    own = request.pace.steps
    times = [(s, c.box) for c in boxes if (s := seconds_of(c, steps.get(c.box, own))) is not None]
    seconds, slowest = max(times, default=(None, ""))
    return Forecast(
        seconds=seconds,
        slowest=slowest,
        bytes=request.bytes_each * len(boxes) if request.bytes_each else None,
    )


def together(first: Forecast, more: Forecast) -> Forecast:
    """Of boxes asked one after the other in the same turn."""
    slower = max(first, more, key=lambda one: one.seconds or 0.0)
    known = [one.bytes for one in (first, more) if one.bytes is not None]
    return Forecast(
        seconds=slower.seconds, slowest=slower.slowest, bytes=sum(known) if known else None
    )
