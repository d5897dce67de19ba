"""Bytes counted on the emulated wire, for reports."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from operator import itemgetter

from firmware_sim.links import Direction

_REMEMBERED = 2**13
"""Topics of one client whose counts are kept apart: a coordinator's boxes, a box's blobs."""


class Count:
    """Messages and payload bytes."""

    __slots__ = ("messages", "size")

    def __init__(self) -> None:
        self.messages = self.size = 0


class Way:
    """What passed one client in one direction."""

    __slots__ = ("_classes", "_topics")

    def __init__(self) -> None:
        self._topics: dict[str, Count] = {}
        self._classes: dict[str, Count] = {}
        """Of topics that are not remembered."""

    def add(self, topic: str, size: int) -> None:
        """Count one message of `size` payload bytes."""
        count = self._topics.get(topic)
        if count is None:
            if len(self._topics) >= _REMEMBERED:
                self._classes, self._topics = self.by_class(), {}
            count = self._topics[topic] = Count()
        count.messages += 1
        count.size += size

    def by_class(self) -> dict[str, Count]:
        """By class of topic."""
        found: dict[str, Count] = {}
        known = ((topic_class(topic), count) for topic, count in self._topics.items())
        for kind, count in (*self._classes.items(), *known):
            total = found.setdefault(kind, Count())
            total.messages += count.messages
            total.size += count.size
        return found

    def counts(self) -> Iterator[Count]:
        """One for each topic or class: together all there was."""
        return chain(self._topics.values(), self._classes.values())


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
            moved[client_id] += sum(count.size for count in way.counts())
        return moved

    @property
    def count(self) -> int:
        """Messages in all."""
        return self.messages()

    def messages(
        self,
        client_id: str | None = None,
        direction: Direction | None = None,
        kind: str | None = None,
    ) -> int:
        """How many messages; None stands for all clients, both directions, all classes."""
        return sum(count.messages for count in self._counts(client_id, direction, kind))

    def bytes(
        self,
        client_id: str | None = None,
        direction: Direction | None = None,
        kind: str | None = None,
    ) -> int:
        """How many payload bytes; None stands for all clients, both directions, all classes."""
        return sum(count.size for count in self._counts(client_id, direction, kind))

    def by_class(self) -> dict[tuple[Direction, str], tuple[int, int]]:
        """(messages, bytes) of all clients together, by direction and class of topic."""
        table: dict[tuple[Direction, str], tuple[int, int]] = {}
        for (_, direction), way in sorted(self._ways.items(), key=itemgetter(0)):
            for kind, count in sorted(way.by_class().items(), key=itemgetter(0)):
                messages, size = table.get((direction, kind), (0, 0))
                table[direction, kind] = (messages + count.messages, size + count.size)
        return table

    def _counts(
        self, client_id: str | None, direction: Direction | None, kind: str | None
    ) -> Iterator[Count]:
        for (client, towards), way in self._ways.items():
            if client_id in (None, client) and direction in (None, towards):
                if kind is None:
                    yield from way.counts()
                elif (found := way.by_class().get(kind)) is not None:
                    yield found


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
