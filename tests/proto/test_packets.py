"""What is written and taken apart without paho's tables must come out as paho would have it."""

import struct

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.client import MQTTv5
from paho.mqtt.properties import VariableByteIntegers

from proto.packets import (
    Publish,
    puback_packet,
    publish_packet,
    read_puback,
    read_publish,
    span,
)

topics = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def packet(topic: str, mid: int, payload: bytes, properties: bytes = b"\0") -> bytes:
    name = topic.encode()
    return struct.pack("!H", len(name)) + name + struct.pack("!H", mid) + properties + payload


@given(topics, st.integers(1, 65535), st.binary(max_size=300), st.booleans(), st.booleans())
def test_a_read_publish_is_read_as_paho_reads_it(topic, mid, payload, retain, dup):
    command = 0x32 | retain | dup << 3
    data = packet(topic, mid, payload)
    theirs = _packet.decode_publish(command, bytearray(data), MQTTv5)
    ours = read_publish(command, bytearray(data))
    assert ours == Publish(mid, topic, payload, retain)
    assert (theirs.mid, theirs.topic.decode(), bytes(theirs.payload)) == (mid, topic, payload)
    assert theirs.retain == retain


def test_what_is_not_plain_is_left_to_paho():
    expiry = b"\x05\x02\0\0\0\x09"
    assert read_publish(0x32, packet("a", 1, b"x", expiry)) is None
    assert read_publish(0x30, packet("a", 1, b"x")) is None
    assert read_publish(0x34, packet("a", 1, b"x")) is None
    assert read_publish(0x32, b"\0\2\xff\xff\0\1\0x") is None


@given(st.integers(0x30, 0x3F), st.binary(max_size=64))
def test_no_bytes_of_a_broker_raise(command, data):
    plain = read_publish(command, bytearray(data))
    assert plain is None or len(plain.payload) < len(data)


@given(
    topics, st.integers(1, 65535), st.sampled_from([0, 1, 90, 200, 20_000, 131_584]), st.booleans()
)
def test_paho_reads_what_is_written(topic, mid, size, retain):
    whole = publish_packet(Publish(mid, topic, bytes(size), retain))
    length, count = VariableByteIntegers.decode(whole[1:])
    rest = whole[1 + count :]
    assert length == len(rest)
    read = _packet.decode_publish(whole[0], bytearray(rest), MQTTv5)
    assert (read.mid, read.topic.decode(), len(read.payload)) == (mid, topic, size)
    assert (read.qos, read.retain) == (1, retain)


@given(st.integers(1, 65535))
def test_an_ack_is_read_back(mid):
    whole = puback_packet(mid)
    assert _packet.decode_puback(whole[0], bytearray(whole[2:]), MQTTv5).mid == mid
    assert read_puback(whole[2:]) == (mid, 0)
    assert read_puback(whole[2:] + b"\x87\0") == (mid, 0x87)
    assert read_puback(b"\0") is None


@given(st.lists(st.integers(0, 70_000), max_size=4), st.integers(0, 10))
def test_packets_are_found_in_a_stream_wherever_it_is_cut(sizes, kept):
    packets = [publish_packet(Publish(1, "a", bytes(size), False)) for size in sizes]
    stream = b"".join(packets)
    for packet in packets:
        assert span(stream[:1]) is None
        start, end = span(stream[: start_of(stream) + kept]) or (0, 0)
        assert stream[:end] == packet
        assert read_publish(stream[0], stream[start:end]) is not None
        stream = stream[end:]
    assert stream == b""


def start_of(stream: bytes) -> int:
    return 1 + VariableByteIntegers.decode(stream[1:])[1]


@given(st.binary(max_size=12))
def test_any_bytes_begin_a_packet_or_want_more(data):
    place = span(data)
    assert place is None or 2 <= place[0] <= place[1]
    if len(data) >= 5:
        assert place is not None


def test_a_length_that_never_ends_is_larger_than_any_packet():
    assert span(b"\x30\xff\xff\xff\xff\x01")[1] > 2**28
