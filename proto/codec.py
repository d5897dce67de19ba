"""Values to bytes and back. Contract: any bytes give a value of the wanted type or `RemoteError`.

A message is one version byte, then MessagePack. The version rises when an old reader would
misunderstand; a reader refuses what it does not know.
"""

from typing import Any, TypeVar

import msgspec

from proto.errors import LocalError, RemoteError
from proto.messages import MAX_PACKED, Sealed, Signed, Update

VERSION = 1
MAX_MESSAGE = 128 * 1024
"""Largest message in bytes: what fits one publish. Most kinds are capped far below."""

MAX_WHOLE = MAX_PACKED + 4096
"""Largest update in bytes, put together from its pieces."""

Value = TypeVar("Value")

_HEAD = bytes([VERSION])
_encoder = msgspec.msgpack.Encoder()
_signed: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Signed)
_sealed: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Sealed)


def encode(message: msgspec.Struct) -> bytes:
    """The message's one canonical form (fields in order, shortest integers)."""
    return _HEAD + _encoder.encode(message)


def decode_signed(data: bytes, kind: type[Value]) -> Value:
    """A signed message's body, of exactly this kind."""
    return _of_kind(_decode(_signed, data), kind)


def decode_sealed(data: bytes) -> Sealed:
    """A sealed message's body, of any sealed kind."""
    message: Sealed = _decode(_sealed, data)
    return message


def decode_update(data: bytes) -> Update:
    """An update however large, from its pieces."""
    return _of_kind(_decode(_sealed, data, MAX_WHOLE), Update)


def _decode(decoder: msgspec.msgpack.Decoder[Any], data: bytes, most: int = MAX_MESSAGE) -> Any:
    if len(data) > most:
        raise RemoteError(f"message of {len(data)} bytes; at most {most} are read")
    if data[:1] != _HEAD:
        raise RemoteError(f"message version {data[0] if data else 'missing'}; this is {VERSION}")
    try:
        return decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteError(f"not a message: {error}") from None


def _of_kind(message: object, kind: type[Value]) -> Value:
    if not isinstance(message, kind):
        raise RemoteError(f"a {type(message).__name__} where a {kind.__name__} was expected")
    return message


def validate(message: msgspec.Struct) -> None:
    """Raise LocalError when a message made here breaks its own bounds, naming the field."""
    try:
        msgspec.convert(msgspec.to_builtins(message, builtin_types=(bytes,)), type(message))
    except msgspec.ValidationError as error:
        raise LocalError(f"{type(message).__name__}: {error}") from None
