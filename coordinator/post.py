"""Letters that leave only after what they tell is on disk."""

import logging
from collections import Counter, deque
from heapq import heappop, heappush
from math import inf

from coordinator.presence import Presence
from proto.bundling import Waiting, bundle
from proto.errors import TransportError
from proto.messages import Letter
from proto.topics import Topics
from proto.transport import Port

logger = logging.getLogger("coordinator")


class Post:
    """Collects what to publish during a unit of work; `flush` sends it, `discard` does not.

    A message to a box may say how long it can wait for another one to share its frame.
    """

    def __init__(self, presence: Presence, topics: Topics) -> None:
        self.topics = topics
        self.down: Counter[int] = Counter()
        """Payload bytes sent to boxes, by turn."""
        self._presence = presence
        self._letters: dict[tuple[str, int], tuple[bytes, bool]] = {}
        self._count = 0
        self._new: list[tuple[str, Letter, int, float]] = []
        self._waiting: dict[str, Waiting] = {}
        self._turns: dict[str, int] = {}
        """The latest turn of what waits for a box."""
        self._places: dict[str, int] = {}
        """Where a box stands among those that something waits for."""
        self._dues: list[tuple[float, str]] = []
        """A heap of when something waits for a box until, and of what has left since."""

    def to_box(self, box: str, message: Letter, turn: int = 0, wait: float = 0.0) -> None:
        """Seal for one box, `wait` seconds after the flush at the latest.

        Does nothing while no keys are shared: the box will ask again.
        """
        self._new.append((box, message, turn, wait))

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

    @property
    def due(self) -> float:
        """When `flush` has something to send that waits; infinity while nothing does."""
        dues, waiting = self._dues, self._waiting
        while dues and (dues[0][1] not in waiting or waiting[dues[0][1]].due != dues[0][0]):
            heappop(dues)
        return dues[0][0] if dues else inf

    def flush(self, port: Port, now: float) -> None:
        """Publish what is due; what the port refuses is told, and keeps nothing else back."""
        new, self._new = self._new, []
        for box, message, turn, wait in new:
            self._wait(box, message, turn, now + wait)
        ready = self._ready(now)
        try:
            while ready:
                self._seal(ready.popleft())
        finally:  # what one box's keys refuse keeps no other's letters back for good
            for box in ready:
                heappush(self._dues, (self._waiting[box].due, box))
        letters, self._letters = self._letters, {}
        for (topic, _), (payload, retain) in letters.items():
            try:
                port.publish(topic, payload, retain=retain)
            except TransportError as error:
                logger.warning("not sent now, boxes will ask again: %s", error)

    def _ready(self, now: float) -> deque[str]:
        """Boxes that something is due for, the longest waiting first; at a stop, infinity, all."""
        if now == inf:
            return deque(self._waiting)
        ready = set()
        while self.due <= now:
            ready.add(heappop(self._dues)[1])
        return deque(sorted(ready, key=self._places.__getitem__))

    def _wait(self, box: str, message: Letter, turn: int, due: float) -> None:
        if (waiting := self._waiting.get(box)) is None:
            waiting = self._waiting[box] = Waiting()
            self._turns[box] = turn
            self._count += 1
            self._places[box] = self._count
        before = waiting.due
        waiting.add(message, due)
        if waiting.due < before:
            heappush(self._dues, (waiting.due, box))
        self._turns[box] = max(turn, self._turns[box])

    def settle(self, turn: int) -> int:
        """Let all that waits on account of a turn leave with the next flush.

        Returns the bytes sent on the turn's account that nobody has counted yet.
        """
        for box in [box for box, latest in self._turns.items() if latest == turn]:
            self._seal(box)
        return self.down.pop(turn, 0)

    def _seal(self, box: str) -> None:
        frame = self._presence.seal(box, bundle(self._waiting.pop(box).take()))
        turn = self._turns.pop(box)
        del self._places[box]
        if frame is not None:
            self.down[turn] += len(frame)
            self._add(self.topics.to_box(box, "m"), frame, retain=False)

    def discard(self) -> None:
        """Forget what was collected since the last flush."""
        self._letters.clear()
        self._new.clear()
