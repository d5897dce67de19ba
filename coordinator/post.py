"""Letters that leave only after what they tell is on disk."""

import logging
from collections import Counter, deque
from heapq import heappop, heappush
from math import inf

from coordinator.presence import Presence
from proto.bundling import MAX_WAITING, Waiting, bundle
from proto.errors import TransportError
from proto.messages import Letter
from proto.topics import Topics
from proto.transport import Port

logger = logging.getLogger("coordinator")


class _Mail(Waiting):
    """What waits for one box."""

    place = 0
    """Where it stands among all that something waits for."""
    turn = 0
    """The latest that any of it is on account of."""


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
        self._mail: dict[str, _Mail] = {}
        """What waits for each box."""
        self._urgent: set[str] = set()
        """Boxes that something is due for at once."""
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
        if self._urgent:
            return -inf
        while self._dues:
            at, box = self._dues[0]
            mail = self._mail.get(box)
            if mail is not None and mail.due == at:
                return at
            heappop(self._dues)
        return inf

    def flush(self, port: Port, now: float) -> None:
        """Publish what is due; what the port refuses is told, and keeps nothing else back."""
        self._sort(now)
        letters, self._letters = self._letters, {}
        for (topic, _), (payload, retain) in letters.items():
            _send(port, topic, payload, retain=retain)
        ready = self._ready(now)
        try:
            while ready:
                box = ready.popleft()
                for frame in self._seal(box):
                    _send(port, self.topics.to_box(box, "m"), frame, retain=False)
        finally:  # what one box's keys refuse keeps no other's letters back for good
            self._urgent.update(ready)

    def _ready(self, now: float) -> deque[str]:
        """Boxes that something is due for, the longest waiting first; at a stop, infinity, all."""
        ready, self._urgent = self._urgent & self._mail.keys(), set()
        if now == inf:
            return deque(self._mail)
        while self.due <= now:
            ready.add(heappop(self._dues)[1])
        return deque(sorted(ready, key=lambda box: self._mail[box].place))

    def _sort(self, now: float) -> None:
        """Lay what is new to what waits for the same box."""
        new, self._new = self._new, []
        for box, message, turn, wait in new:
            mail = self._mail.get(box)
            if mail is None:
                self._count += 1
                mail = self._mail[box] = _Mail()
                mail.place = self._count
            before = mail.due
            mail.add(message, now + wait)
            if mail.due <= now:
                self._urgent.add(box)
            elif mail.due < before:
                heappush(self._dues, (mail.due, box))
            if turn > mail.turn:  # noqa: PLR1730 - `max` takes ten times as long
                mail.turn = turn

    def settle(self, turn: int) -> int:
        """Let all that waits on account of a turn leave with the next flush.

        Returns the bytes sent on the turn's account that nobody has counted yet.
        """
        for box in [box for box, mail in self._mail.items() if mail.turn == turn]:
            for frame in self._seal(box):
                self._add(self.topics.to_box(box, "m"), frame, retain=False)
        return self.down.pop(turn, 0)

    def _seal(self, box: str) -> list[bytes]:
        """What waits for a box, as frames; none while no keys are shared."""
        mail = self._mail.pop(box)
        letters, frames = mail.take(), []
        # One unit of work may have more to say than one frame may hold.
        for at in range(0, len(letters), MAX_WAITING):
            frame = self._presence.seal(box, bundle(letters[at : at + MAX_WAITING]))
            if frame is not None:
                self.down[mail.turn] += len(frame)
                frames.append(frame)
        return frames

    def discard(self) -> None:
        """Forget what was collected since the last flush."""
        self._letters.clear()
        self._new.clear()


def _send(port: Port, topic: str, payload: bytes, *, retain: bool) -> None:
    try:
        port.publish(topic, payload, retain=retain)
    except TransportError as error:
        logger.warning("not sent now, boxes will ask again: %s", error)
