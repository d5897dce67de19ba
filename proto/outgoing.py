"""What callers hand over and the network thread takes: publishes, acks and subscriptions."""

import contextlib
import socket
import threading
from collections import deque
from functools import lru_cache

from proto.errors import LocalError, TransportError
from proto.transport import MAX_PAYLOAD, MAX_QUEUED

UNLIMITED = 2**28
"""More bytes than any MQTT packet can have."""

_LONGEST_TOPIC = 65535


class Outgoing:
    """Bounded queues between any thread and the network thread, which `woken` wakes.

    Publishes are taken only while the link is up, and forgotten with it. The lock guards that
    pair of facts and nothing else; it is never held while paho or a receiver is called.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, bytes, bool]] = deque()
        self._acks: deque[int] = deque()
        self._largest_packet = UNLIMITED
        self.patterns: dict[str, None] = {}
        self.dropped: dict[str, None] = {}
        """Subscriptions taken back that the broker has not been told of."""
        self.online = False
        self._woken = False
        self.owner = 0
        """The network thread."""
        self.woken, self._waker = socket.socketpair()
        self.woken.setblocking(False)
        self._waker.setblocking(False)

    def set_online(self, largest_packet: int) -> None:
        """From now on publishes are taken, if their packet has at most so many bytes."""
        with self._lock:
            self._largest_packet = largest_packet
            self.online = True

    def set_offline(self) -> None:
        """From now on publishes are ignored; what waits is forgotten."""
        with self._lock:
            self.online = False
            self._waiting.clear()
            self._acks.clear()

    def offer(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Queue a publish, if the link is up. Raises LocalError or TransportError, see `Port`."""
        check_publish(topic, payload, self._largest_packet)
        with self._lock:
            if not self.online:
                return
            check_room(len(self._waiting))
            self._waiting.append((topic, payload, retain))
        self.wake()

    def add_patterns(self, *patterns: str) -> None:
        """Add subscriptions. Raises LocalError for a pattern no broker accepts."""
        for pattern in patterns:
            check_pattern(pattern)
        if not patterns:
            return
        with self._lock:
            self.patterns = self.patterns | dict.fromkeys(patterns)
            self.dropped = {p: None for p in self.dropped if p not in patterns}
        self.wake()

    def drop_patterns(self, *patterns: str) -> None:
        """Take subscriptions back."""
        with self._lock:
            gone = [pattern for pattern in patterns if pattern in self.patterns]
            if not gone:
                return
            self.patterns = {p: None for p in self.patterns if p not in gone}
            self.dropped = self.dropped | dict.fromkeys(gone)
        self.wake()

    def take_dropped(self) -> list[str]:
        """What to tell the broker now."""
        with self._lock:
            gone, self.dropped = list(self.dropped), {}
        return gone

    def add_ack(self, token: int) -> None:
        self._acks.append(token)
        self.wake()

    def wake(self, *, always: bool = False) -> None:
        """Make `woken` readable, unless the network thread itself calls: it looks by itself."""
        if self._woken:
            return  # and not yet calmed: it will look at the queues after this
        if not always and threading.get_ident() == self.owner:
            return
        self._woken = True
        # A full pipe is readable already; a closed one has nobody left to wake.
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def calm(self) -> None:
        """Take back what `wake` did, when `woken` is readable and before taking what waits.

        The flag falls after the byte is read. Who wakes in between sends none, and what he has
        put down is seen all the same.
        """
        with contextlib.suppress(BlockingIOError):
            self.woken.recv(4096)
        self._woken = False

    def close(self) -> None:
        """Take nothing any more."""
        self.set_offline()
        self.woken.close()
        self._waker.close()

    def next_publish(self) -> tuple[str, bytes, bool] | None:
        """The publish that has waited longest, or None."""
        return self._waiting.popleft() if self._waiting else None

    def next_ack(self) -> int | None:
        return self._acks.popleft() if self._acks else None

    def waits(self) -> bool:
        return bool(self._waiting)

    def has_acks(self) -> bool:
        return bool(self._acks)

    def empty(self) -> bool:
        return not self._waiting and not self._acks


def check_publish(topic: str, payload: bytes, largest_packet: int = UNLIMITED) -> None:
    """Raise LocalError for a topic with wildcards, TransportError for a payload too large."""
    size, room = len(payload), largest_packet - _overhead(topic)
    if size > MAX_PAYLOAD or size > room:
        raise TransportError(
            f"{size} bytes for {topic} are more than the {min(MAX_PAYLOAD, room)} that can be"
            " published at once; send them as chunks."
        )


def check_room(waiting: int) -> None:
    """Raise TransportError when so many publishes wait that one more is refused."""
    if waiting >= MAX_QUEUED:
        raise TransportError(f"{MAX_QUEUED} publishes already wait; offer it again later.")


def check_pattern(pattern: str) -> None:
    """Raise LocalError unless this can be subscribed to."""
    levels = pattern.split("/")
    wild = [level for level in levels if level != "+" and ("+" in level or "#" in level)]
    if not pattern or (wild and (wild != ["#"] or levels[-1] != "#")):
        raise LocalError(f"'{pattern}' is no subscription: + and # stand alone, # only at the end.")


@lru_cache(maxsize=2**14)
def _overhead(topic: str) -> int:
    """Bytes of a QoS 1 PUBLISH without properties beside its payload (MQTT 5, section 3.3).

    Raises LocalError for what is no topic to publish to.
    """
    length = len(topic.encode())
    if not topic or "+" in topic or "#" in topic or length > _LONGEST_TOPIC:
        raise LocalError(f"'{topic[:80]}' is not a topic to publish to: it must name one topic.")
    return 1 + 4 + 2 + length + 2 + 1
