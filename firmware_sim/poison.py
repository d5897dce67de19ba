"""Updates as a broken or hostile client would send them."""

import struct
from typing import Literal

import numpy as np
from msgspec.structs import replace

from edge_client.requests import Done, Result

What = Literal["nan", "huge", "zeros", "flipped", "wrong-shape", "garbage"]


def poisoned(result: Result, what: What) -> Result:
    """The result with its update spoilt; other results as they are."""
    if not isinstance(result, Done):
        return result
    update = result.update
    if not update.payload:
        return result
    payload = _spoilt(update.payload, what)
    return Done(result.turn, replace(update, payload=payload))


def _spoilt(payload: bytes, what: What) -> bytes:
    head, first, rest = payload[:1], payload[1:5], payload[5:]
    match what:
        case "nan":
            return head + struct.pack("<f", float("nan")) + rest
        case "huge":
            return head + struct.pack("<f", 1e30) + rest
        case "zeros":
            return head + first + bytes(len(rest))
        case "flipped":
            return head + first + (-np.frombuffer(rest, np.int8)).tobytes()
        case "wrong-shape":
            return payload + bytes(4)
        case "garbage":
            return bytes((7 * at + 3) % 256 for at in range(len(payload)))
