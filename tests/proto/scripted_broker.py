"""A broker on loopback that does what a test tells it, byte by byte: the misbehaving peer."""

import contextlib
import queue
import socket
import threading
from dataclasses import dataclass

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, DISCONNECT = 1, 3, 4, 8, 14
ACCEPTED = bytes([0x20, 3, 0, 0, 0])


@dataclass(frozen=True)
class Packet:
    kind: int
    flags: int
    body: bytes


def refused(code: int) -> bytes:
    """A CONNACK that says no."""
    return bytes([0x20, 3, 0, code, 0])


def accepted_with(properties: bytes) -> bytes:
    """A CONNACK that says yes, with conditions (MQTT 5, 3.2.2.3)."""
    return bytes([0x20, 3 + len(properties), 0, 0, len(properties)]) + properties


def disconnect(code: int) -> bytes:
    return bytes([0xE0, 2, code, 0])


def publish(topic: bytes, payload: bytes, mid: int) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + b"\0" + payload
    return b"\x32" + _varint(len(body)) + body


class ScriptedBroker:
    """Answers CONNECT with `connack`, then sends `then`. Acks publishes unless told not to.

    `piece` is how many bytes it hands to the network at once.
    """

    def __init__(
        self, connack: bytes, then: bytes = b"", *, acks: bool = True, piece: int = 2**20
    ) -> None:
        self.connack = connack
        self.then = then
        self.piece = piece
        self.acks = acks
        self.packets: queue.SimpleQueue[Packet] = queue.SimpleQueue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def wait_for(self, kind: int) -> Packet:
        """The next packet of a kind."""
        while (packet := self.packets.get(timeout=5)).kind != kind:
            pass
        return packet

    def silent(self, kind: int, seconds: float = 0.2) -> bool:
        """Whether no packet of a kind comes for so long."""
        try:
            return self.packets.get(timeout=seconds).kind != kind
        except queue.Empty:
            return True

    def ack(self, packet: Packet) -> None:
        """PUBACK a publish."""
        assert self._client is not None
        length = int.from_bytes(packet.body[:2], "big")
        self._client.sendall(b"\x40\x02" + packet.body[2 + length : 4 + length])

    def say(self, data: bytes) -> None:
        assert self._client is not None
        self._client.sendall(data)

    def close(self) -> None:
        for each in (self._listener, self._client):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
        self._thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._client, _ = self._listener.accept()
                self._serve(self._client)
                self._client.close()

    def _serve(self, client: socket.socket) -> None:
        stream = client.makefile("rb")
        with stream, contextlib.suppress(OSError):
            while (packet := _read(stream)) is not None:
                self.packets.put(packet)
                if packet.kind == CONNECT:
                    said = self.connack + self.then
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for at in range(0, len(said), self.piece):
                        client.sendall(said[at : at + self.piece])
                elif packet.kind == SUBSCRIBE:
                    client.sendall(b"\x90\x04" + packet.body[:2] + b"\0\x01")
                elif packet.kind == PUBLISH and self.acks:
                    self.ack(packet)


def _read(stream) -> Packet | None:
    head = stream.read(1)
    if not head:
        return None
    length = shift = 0
    while True:
        byte = stream.read(1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return Packet(head[0] >> 4, head[0] & 15, stream.read(length))


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])
