"""Letters that leave only after what they tell is on disk."""

import logging
from collections import Counter

from coordinator.presence import Presence
from proto.errors import TransportError
from proto.messages import Message
from proto.topics import Topics
from proto.transport import Port

logger = logging.getLogger("coordinator")


class Post:
    """Collects what to publish during a unit of work; `flush` sends it, `discard` does not."""

    def __init__(self, presence: Presence, topics: Topics) -> None:
        self.topics = topics
        self.down: Counter[int] = Counter()
        """Payload bytes sent to boxes, by turn."""
        self._presence = presence
        self._letters: dict[tuple[str, int], tuple[bytes, bool]] = {}
        self._count = 0

    def to_box(self, box: str, message: Message, turn: int = 0) -> None:
        """Seal for one box. Does nothing while no keys are shared: the box will ask again."""
        frame = self._presence.seal(box, message)
        if frame is not None:
            self.down[turn] += len(frame)
            self._add(self.topics.to_box(box, "m"), frame, retain=False)

    def key_offer(self, box: str, data: bytes) -> None:
        self._add(self.topics.to_box(box, "k"), data, retain=False)

    def publish(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        self._add(topic, payload, retain=retain)

    def blob(self, address: bytes, part: str, payload: bytes, turn: int) -> None:
        """One part of a blob, at most once in a unit, however many boxes asked."""
        topic = self.topics.blob(address, part)
        if (topic, 0) not in self._letters:
            self.down[turn] += len(payload)
            self._letters[topic, 0] = (payload, False)

    def _add(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self._count += 1
        self._letters[topic, self._count] = (payload, retain)

    def flush(self, port: Port) -> None:
        """Publish everything; what the port refuses is told, and keeps nothing else back."""
        letters, self._letters = self._letters, {}
        for (topic, _), (payload, retain) in letters.items():
            try:
                port.publish(topic, payload, retain=retain)
            except TransportError as error:
                logger.warning("not sent now, boxes will ask again: %s", error)

    def discard(self) -> None:
        self._letters.clear()
