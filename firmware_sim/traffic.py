"""Bytes counted on the emulated wire, for reports."""

from collections import Counter
from functools import lru_cache

from firmware_sim.links import Direction

_Key = tuple[str, Direction, str]
_REMEMBERED = 2**16
"""Topics of clients whose counts are found at once; boxes have a few, blobs many."""


class Traffic:
    """Messages and payload bytes by client, direction and class of topic."""

    def __init__(self) -> None:
        self._counts: dict[_Key, list[int]] = {}
        """Messages and bytes."""
        self._by_topic: dict[_Key, list[int]] = {}
        """The same lists, by the topic itself."""

    def add(self, client_id: str, direction: Direction, topic: str, size: int) -> None:
        """Count one message of `size` payload bytes."""
        counts = self._by_topic.get((client_id, direction, topic))
        if counts is None:
            counts = self._counts_of(client_id, direction, topic)
        counts[0] += 1
        counts[1] += size

    def _counts_of(self, client_id: str, direction: Direction, topic: str) -> list[int]:
        if len(self._by_topic) >= _REMEMBERED:
            self._by_topic.clear()
        counts = self._counts.setdefault((client_id, direction, topic_class(topic)), [0, 0])
        self._by_topic[client_id, direction, topic] = counts
        return counts

    @property
    def moved(self) -> Counter[str]:
        """Payload bytes of each client, both ways."""
        moved: Counter[str] = Counter()
        for (client_id, _, _), (_, size) in self._counts.items():
            moved[client_id] += size
        return moved

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


@lru_cache(maxsize=2**14)
def topic_class(topic: str) -> str:
    """`up`, `dev/state`, `dev/in`, `bc`, `blob`, `coord`, `join`, or `other`."""
    match topic.split("/"):
        case ["qf", _, _, "dev", _, part, *_]:
            return f"dev/{part}"
        case ["qf", _, _, kind, _, *_]:
            return kind
        case _:
            return "other"
