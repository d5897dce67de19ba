"""What is taken apart without paho's tables must come out as paho would have it."""

import struct

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.client import MQTTv5

from proto.connection import Plain, plain_publish

topics = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def packet(topic: str, mid: int, payload: bytes, properties: bytes = b"\0") -> bytes:
    name = topic.encode()
    return struct.pack("!H", len(name)) + name + struct.pack("!H", mid) + properties + payload


@given(topics, st.integers(1, 65535), st.binary(max_size=300), st.booleans(), st.booleans())
def test_a_plain_publish_is_read_as_paho_reads_it(topic, mid, payload, retain, dup):
    command = 0x32 | retain | dup << 3
    data = packet(topic, mid, payload)
    theirs = _packet.decode_publish(command, bytearray(data), MQTTv5)
    ours = plain_publish(command, bytearray(data))
    assert ours == Plain(mid, topic, payload, retain)
    assert (theirs.mid, theirs.topic.decode(), bytes(theirs.payload)) == (mid, topic, payload)
    assert theirs.retain == retain


def test_what_is_not_plain_is_left_to_paho():
    expiry = b"\x05\x02\0\0\0\x09"
    assert plain_publish(0x32, packet("a", 1, b"x", expiry)) is None
    assert plain_publish(0x30, packet("a", 1, b"x")) is None
    assert plain_publish(0x34, packet("a", 1, b"x")) is None
    assert plain_publish(0x32, b"\0\2\xff\xff\0\1\0x") is None


@given(st.integers(0x30, 0x3F), st.binary(max_size=64))
def test_no_bytes_of_a_broker_raise(command, data):
    plain = plain_publish(command, bytearray(data))
    assert plain is None or len(plain.payload) < len(data)
