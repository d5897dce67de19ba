"""Bytes counted on the emulated wire, for reports."""

from collections import Counter
from functools import lru_cache
from operator import itemgetter

from firmware_sim.links import Direction

_REMEMBERED = 2**13
"""Topics of one client whose counts are kept apart: a coordinator's boxes, a box's blobs."""


class Way:
    """Messages and payload bytes of one client in one direction."""

    __slots__ = ("_classes", "_topics")

    def __init__(self) -> None:
        self._topics: dict[str, list[int]] = {}
        """Messages and bytes, by topic."""
        self._classes: dict[str, list[int]] = {}
        """The same of topics that are not remembered, by class."""

    def add(self, topic: str, size: int) -> None:
        """Count one message of `size` payload bytes."""
        counts = self._topics.get(topic)
        if counts is None:
            if len(self._topics) >= _REMEMBERED:
                self._classes, self._topics = self.by_class(), {}
            counts = self._topics[topic] = [0, 0]
        counts[0] += 1
        counts[1] += size

    def by_class(self) -> dict[str, list[int]]:
        """Messages and bytes, by class of topic."""
        found = {kind: list(counts) for kind, counts in self._classes.items()}
        for topic, (messages, size) in self._topics.items():
            counts = found.setdefault(topic_class(topic), [0, 0])
            counts[0] += messages
            counts[1] += size
        return found

    def total(self, which: int) -> int:
        """All messages (0) or all bytes (1)."""
        kept = (*self._topics.values(), *self._classes.values())
        return sum(counts[which] for counts in kept)


class Traffic:
    """Messages and payload bytes by client, direction and class of topic."""

    def __init__(self) -> None:
        self._ways: dict[tuple[str, Direction], Way] = {}

    def of(self, client_id: str, direction: Direction) -> Way:
        """Where this client's messages are counted."""
        return self._ways.setdefault((client_id, direction), Way())

    @property
    def moved(self) -> Counter[str]:
        """Payload bytes of each client, both ways."""
        moved: Counter[str] = Counter()
        for (client_id, _), way in self._ways.items():
            moved[client_id] += way.total(1)
        return moved

    @property
    def count(self) -> int:
        """Messages in all."""
        return sum(way.total(0) for way in self._ways.values())

    def messages(
        self,
        client_id: str | None = None,
        direction: Direction | None = None,
        kind: str | None = None,
    ) -> int:
        """How many messages; None stands for all clients, both directions, all classes."""
        return self._total(0, (client_id, direction), kind)

    def bytes(
        self,
        client_id: str | None = None,
        direction: Direction | None = None,
        kind: str | None = None,
    ) -> int:
        """How many payload bytes; None stands for all clients, both directions, all classes."""
        return self._total(1, (client_id, direction), kind)

    def by_class(self) -> dict[tuple[Direction, str], tuple[int, int]]:
        """(messages, bytes) of all clients together, by direction and class of topic."""
        table: dict[tuple[Direction, str], tuple[int, int]] = {}
        for (_, direction), way in sorted(self._ways.items(), key=itemgetter(0)):
            for kind, (messages, size) in sorted(way.by_class().items()):
                before = table.get((direction, kind), (0, 0))
                table[direction, kind] = (before[0] + messages, before[1] + size)
        return table

    def _total(
        self, which: int, wanted: tuple[str | None, Direction | None], kind: str | None
    ) -> int:
        ways = [
            way
            for of, way in self._ways.items()
            if all(want is None or want == have for want, have in zip(wanted, of, strict=True))
        ]
        if kind is None:
            return sum(way.total(which) for way in ways)
        return sum(way.by_class().get(kind, (0, 0))[which] for way in ways)


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
