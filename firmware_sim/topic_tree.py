"""Finding subscriptions for a topic, and topics for a subscription, in time of the levels alone.

Rules: MQTT 5, section 4.7. `+` is one level, `#` the rest and its parent, and neither matches a
first level that starts with `$`.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[str, T] = {}


class TopicTree(Generic[T]):
    """Values by path and key. Paths are either all patterns or all topics."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def put(self, path: str, key: str, value: T) -> None:
        """Store a value; one with the same path and key is replaced."""
        node = self._root
        for level in path.split("/"):
            node = node.children.setdefault(level, _Node())
        node.values[key] = value

    def take(self, path: str, key: str) -> None:
        """Forget a value, if it is there."""
        node = self._root
        for level in path.split("/"):
            if level not in node.children:
                return
            node = node.children[level]
        node.values.pop(key, None)

    def for_topic(self, topic: str) -> Iterator[T]:
        """Values whose pattern matches `topic`, once for each such pattern."""
        nodes = [self._root]
        for depth, level in enumerate(topic.split("/")):
            wild = depth > 0 or not level.startswith("$")
            following = []
            for node in nodes:
                if wild and (rest := node.children.get("#")):
                    yield from rest.values.values()
                if exact := node.children.get(level):
                    following.append(exact)
                if wild and (one := node.children.get("+")):
                    following.append(one)
            nodes = following
        for node in nodes:
            yield from node.values.values()
            if parent := node.children.get("#"):
                yield from parent.values.values()

    def for_pattern(self, pattern: str) -> Iterator[T]:
        """Values whose topic matches `pattern`."""
        levels = pattern.split("/")
        nodes = [self._root]
        for depth, level in enumerate(levels):
            if level == "#":
                for node in nodes:
                    yield from _below(node, hidden=depth == 0)
                return
            if level == "+":
                nodes = [
                    child
                    for node in nodes
                    for name, child in node.children.items()
                    if depth > 0 or not name.startswith("$")
                ]
            else:
                nodes = [node.children[level] for node in nodes if level in node.children]
        for node in nodes:
            yield from node.values.values()


def _below(node: _Node[T], *, hidden: bool) -> Iterator[T]:
    """All values at and below a node; `hidden` leaves out children that start with `$`."""
    yield from node.values.values()
    for name, child in node.children.items():
        if not (hidden and name.startswith("$")):
            yield from _below(child, hidden=False)
