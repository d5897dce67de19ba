"""Deliveries of one connection: told in order after `Connected`, acked in order too."""

from collections import deque

from proto.transport import MAX_PAYLOAD, Connected, Deliver, Delivery

LARGEST_INBOUND = MAX_PAYLOAD + 4096
"""Payload bytes above which a message cannot be from a peer of ours, and is dropped."""


class AckOrder:
    """Acks leave in the order in which messages came (MQTT 5, 4.6).

    rumqttd drops a client that acks otherwise; mosquitto does not mind.
    """

    def __init__(self) -> None:
        self._owed: deque[int] = deque()
        self._early: set[int] = set()
        """Those of them that were acked, but may not leave yet."""

    def owe(self, number: int) -> None:
        """A message came that is to be acked; one that comes twice is acked once."""
        if number not in self._owed:
            self._owed.append(number)

    def settle(self, number: int) -> list[int]:
        """It was acked. Returns the acks that may leave now, perhaps none yet."""
        owed, early = self._owed, self._early
        if not owed or owed[0] != number:
            if number in owed:
                early.add(number)
            return []
        ready = [owed.popleft()]
        while early and owed[0] in early:
            early.remove(owed[0])
            ready.append(owed.popleft())
        return ready


class Inbound:
    """What comes in on connection `number`, for the network thread alone."""

    def __init__(self, number: int, tell: Deliver) -> None:
        self._number = number
        self._tell = tell
        self._order = AckOrder()
        self._early: list[Delivery] | None = []

    def announce(self) -> None:
        """Tell that we are connected, and then what the broker sent ahead of its SUBACK."""
        early, self._early = self._early or [], None
        self._tell(Connected())
        for delivery in early:
            self._tell(delivery)

    def take(self, mid: int, topic: str, payload: bytes, *, retained: bool) -> None:
        """Hand over one message; `mid` is 0 at QoS 0, where nothing is acked."""
        if mid:
            self._order.owe(mid)
        delivery = Delivery(topic, payload, retained, self._number << 16 | mid)
        if self._early is None:
            self._tell(delivery)
        else:
            self._early.append(delivery)

    def settle(self, token: int) -> list[int]:
        """Message ids to ack now that the delivery with this token is handled.

        None for a token of an earlier connection: the broker has forgotten it, or given its id
        to another message.
        """
        number, mid = divmod(token, 1 << 16)
        return self._order.settle(mid) if number == self._number else []

    def drop(self, mid: int) -> list[int]:
        """Message ids to ack now that this message is not handed over at all."""
        self._order.owe(mid)
        return self._order.settle(mid)
