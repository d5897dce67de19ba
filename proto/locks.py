"""What sealing and signing are done by, as one value that both ends are made with.

`seal` makes a frame of a message, `peek` tells what a frame claims to be, `open` makes a message of
it; all raise as what they call.

Every process in the field holds `REAL`, and no setting changes it. An emulated fleet may be made
with functions that only cost what the real ones do: frames of the same sizes, nothing hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proto import exchange, identity, sealing
from proto.codec import decode_sealed, encode
from proto.identity import Identity
from proto.messages import Sealed


@dataclass(frozen=True, slots=True)
class Locks:
    """Signatures as in the modules that `REAL` takes them from."""

    kem_pair: Callable[[], sealing.KemPair]
    ask: Callable[..., exchange.Asked]
    offer: Callable[..., exchange.Offered]
    accept: Callable[..., exchange.Agreed]
    finish: Callable[..., tuple[sealing.Epoch, bytes]]
    seal: Callable[[Sealed, bytes, sealing.Key, int, Identity | None], bytes]
    peek: Callable[[bytes], sealing.Frame]
    open: Callable[[bytes, sealing.Key, bytes | None], Sealed]
    open_signed: Callable[..., Any]
    sign: Callable[..., bytes]


def _seal(
    message: Sealed, epoch: bytes, key: sealing.Key, sequence: int, signer: Identity | None
) -> bytes:
    return sealing.seal(encode(message), epoch, key, sequence, signer)


def _open(frame: bytes, key: sealing.Key, signer: bytes | None) -> Sealed:
    return decode_sealed(sealing.open_(frame, key, signer))


REAL = Locks(
    kem_pair=sealing.KemPair,
    ask=exchange.ask,
    offer=exchange.offer,
    accept=exchange.accept,
    finish=exchange.finish,
    seal=_seal,
    peek=sealing.peek,
    open=_open,
    open_signed=identity.open_signed,
    sign=identity.sign,
)
