"""Bytes counted on the emulated wire, for reports."""

from collections import Counter
from functools import lru_cache

from firmware_sim.links import Direction

_Key = tuple[str, Direction, str]


class Traffic:
    """Messages and payload bytes by client, direction and class of topic."""

    def __init__(self) -> None:
        self._counts: dict[_Key, list[int]] = {}
        """Messages and bytes."""
        self.moved: Counter[str] = Counter()
        """Payload bytes of each client, both ways."""

    def add(self, client_id: str, direction: Direction, topic: str, size: int) -> None:
        """Count one message of `size` payload bytes."""
        key = (client_id, direction, topic_class(topic))
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = [0, 0]
        counts[0] += 1
        counts[1] += size
        self.moved[client_id] += size

    @property
    def count(self) -> int:
        """Messages in all."""
        return sum(messages for messages, _ in self._counts.values())

    def messages(
        self,
        client_id: str | None = None,
        direction: Direction | None = None,
        kind: str | None = None,
    ) -> int:
        """How many messages; None stands for all clients, both directions, all classes."""
        return self._total(0, (client_id, direction, kind))

    def bytes(
        self,
        client_id: str | None = None,
        direction: Direction | None = None,
        kind: str | None = None,
    ) -> int:
        """How many payload bytes; None stands for all clients, both directions, all classes."""
        return self._total(1, (client_id, direction, kind))

    def by_class(self) -> dict[tuple[Direction, str], tuple[int, int]]:
        """(messages, bytes) of all clients together, by direction and class of topic."""
        table: dict[tuple[Direction, str], tuple[int, int]] = {}
        for key in sorted(self._counts):
            messages, size = table.get(key[1:], (0, 0))
            table[key[1:]] = (messages + self._counts[key][0], size + self._counts[key][1])
        return table

    def _total(self, which: int, wanted: tuple[str | None, Direction | None, str | None]) -> int:
        return sum(
            counts[which]
            for key, counts in self._counts.items()
            if all(want is None or want == have for want, have in zip(wanted, key, strict=True))
        )


@lru_cache(maxsize=2**17)
def topic_class(topic: str) -> str:
    """`up`, `dev/state`, `dev/in`, `bc`, `blob`, `coord`, `join`, or `other`."""
    match topic.split("/"):
        case ["qf", _, _, "dev", _, part, *_]:
            return f"dev/{part}"
        case ["qf", _, _, kind, _, *_]:
            return kind
        case _:
            return "other"
