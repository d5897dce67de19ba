"""The MQTT 5 packets that make up nearly all traffic, to bytes and back (MQTT 5, 3.3 and 3.4).

paho builds two tables of all MQTT properties and several locks for each of them, more than half of
what a small message costs a box. All other packets are paho's.
"""

import struct
from typing import NamedTuple

_MID = struct.Struct("!H")


class Publish(NamedTuple):
    """A PUBLISH at QoS 1 without properties: all that brokers send us. `mid` is its message id."""

    mid: int
    topic: str
    payload: bytes
    retained: bool


def span(data: bytes) -> tuple[int, int] | None:
    """Where the first packet's body starts and ends, be it here as a whole or not.

    None when its length is not here yet; one that never ends (MQTT 5, 1.5.5) is larger than any.
    """
    size = 0
    for place, digit in enumerate(data[1:5]):
        size |= (digit & 0x7F) << 7 * place
        if digit <= 0x7F:  # noqa: PLR2004 - the last digit
            return place + 2, place + 2 + size
    return None if len(data) < 5 else (5, 2**28 + 5)  # noqa: PLR2004


def read_publish(command: int, rest: bytes | bytearray) -> Publish | None:
    """A PUBLISH from its first byte and what follows the length; None for one that is not plain."""
    if command & 0x06 != 0x02 or len(rest) < _MID.size:  # noqa: PLR2004 - the bits of the QoS
        return None
    (length,) = _MID.unpack_from(rest)
    start = 2 + length + 3
    if len(rest) < start or rest[start - 1]:
        return None
    try:
        topic = rest[2 : 2 + length].decode()
    except UnicodeDecodeError:
        return None
    (mid,) = _MID.unpack_from(rest, 2 + length)
    return Publish(mid, topic, bytes(rest[start:]), bool(command & 1))


def publish_packet(message: Publish) -> bytes:
    """The whole packet of a PUBLISH at QoS 1 without properties."""
    topic = message.topic.encode()
    head = _MID.pack(len(topic)) + topic + _MID.pack(message.mid) + b"\0"
    size = _length(len(head) + len(message.payload))
    return bytes([0x32 | message.retained]) + size + head + message.payload


def puback_packet(mid: int) -> bytes:
    """The whole packet that acknowledges a PUBLISH."""
    return b"\x40\x02" + _MID.pack(mid)


def read_puback(rest: bytes | bytearray) -> tuple[int, int] | None:
    """Message id and reason code (0: success) of a PUBACK; None for too short a one."""
    if len(rest) < _MID.size:
        return None
    return _MID.unpack_from(rest)[0], rest[2] if len(rest) > _MID.size else 0


def _length(size: int) -> bytes:
    """A variable byte integer (MQTT 5, section 1.5.5)."""
    digits = bytearray()
    while size > 0x7F:  # noqa: PLR2004 - seven bits a byte
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    digits.append(size)
    return bytes(digits)
