"""What sealing and signing are done by, as one value that both ends are made with.

Every process in the field holds `REAL`, and no setting changes it. An emulated fleet may be made
with functions that only cost what the real ones do: frames of the same sizes, nothing hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proto import exchange, identity, sealing


@dataclass(frozen=True, slots=True)
class Locks:
    """Signatures as in the modules that `REAL` takes them from."""

    kem_pair: Callable[[], sealing.KemPair]
    ask: Callable[..., exchange.Asked]
    offer: Callable[..., exchange.Offered]
    accept: Callable[..., exchange.Agreed]
    finish: Callable[..., tuple[sealing.Epoch, bytes]]
    seal: Callable[..., bytes]
    open: Callable[..., bytes]
    open_signed: Callable[..., Any]
    sign: Callable[..., bytes]


REAL = Locks(
    kem_pair=sealing.KemPair,
    ask=exchange.ask,
    offer=exchange.offer,
    accept=exchange.accept,
    finish=exchange.finish,
    seal=sealing.seal,
    open=sealing.open_,
    open_signed=identity.open_signed,
    sign=identity.sign,
)
