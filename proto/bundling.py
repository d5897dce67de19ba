"""Messages to one peer that may wait a moment for company, and then leave in one frame.

A frame costs both ends and the broker about the same whatever it holds, so what can wait rides with
what cannot: an answer with the update that soon follows it, an ack with the next offer.
"""

from collections.abc import Sequence
from math import inf

from proto.messages import MAX_BUNDLE, UPDATES, Bundle, Letter, Sealed

MAX_WAITING = MAX_BUNDLE
"""Messages that wait; the next one takes all with it at once."""


class Waiting:
    """What waits for one peer, and until when."""

    def __init__(self) -> None:
        self._messages: list[Letter] = []
        self.due = inf

    def add(self, message: Letter, due: float) -> None:
        """Let it leave at `due`, or with any that leaves before; the clock is the caller's."""
        messages = self._messages
        messages.append(message)
        if len(messages) >= MAX_WAITING:
            self.due = -inf
        elif due < self.due:
            self.due = due

    def take(self) -> list[Letter]:
        """All that waits, in the order it came; nothing waits any more."""
        messages, self._messages = self._messages, []
        self.due = inf
        return messages


def bundle(messages: Sequence[Letter]) -> Sealed:
    """One message for one frame. At most one of them may be an update."""
    return messages[0] if len(messages) == 1 else Bundle(items=tuple(messages))


def unbundle(message: Sealed) -> tuple[Sealed, ...]:
    """What a frame held, in order."""
    return message.items if type(message) is Bundle else (message,)


def holds_update(message: Sealed) -> bool:
    """Whether the frame must be signed."""
    for item in unbundle(message):  # noqa: SIM110 - at half of what a generator costs
        if type(item) in UPDATES:
            return True
    return False
