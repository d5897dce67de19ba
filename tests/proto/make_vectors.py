"""Writes the golden vectors anew: `python -m tests.proto.make_vectors`. Same input, same bytes.

A changed vector is a changed wire: old boxes in the field must still be understood.
"""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec

from proto import blobs, sealing
from proto.codec import encode
from proto.identity import CONTEXT, Identity, sign
from proto.joining import PREFIX, Token, token_text
from proto.messages import Gone, Message
from proto.replay import Window, admit
from tests.proto.cases import CASES, LONGEST, SHORT, SMALL_UPDATE

FOLDER = Path(__file__).parent.parent / "vectors"
IN_FULL = 4096
"""Longer encodings are given by their length and SHA-256."""

_SEALED = [bytes([kind]) for kind in range(20, 27)]
"""What a sealed message's second byte may be: its kind's number."""

SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))
EPOCH, KEY = b"epoch-id", bytes(range(64, 96))
SEQUENCE = 7
TOKEN = Token("mqtts://broker.example:8883", "fleet", bytes(range(32)), "t-0123456789", SHORT)


def _of(data: bytes) -> dict[str, object]:
    if len(data) <= IN_FULL:
        return {"hex": data.hex()}
    return {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def messages() -> object:
    return {
        name: {"kind": type(case).__name__, **_of(encode(case))} for name, case in CASES.items()
    }


def _raw(*values: object) -> bytes:
    """A message as a hostile or newer peer might write it."""
    return b"\x01" + msgspec.msgpack.encode(values)


def refused_messages() -> object:
    """What must never decode, and what the refusal says."""
    gone = encode(Gone(fleet="f", box="b", session=1))
    update = list(msgspec.to_builtins(SMALL_UPDATE, builtin_types=(bytes,)))
    nan, infinite = [float("nan"), *update[-1][1:]], [float("inf"), *update[-1][1:]]
    known = {
        "nothing": (b"", "message version missing"),
        "version-only": (b"\x01", "truncated"),
        "wrong-version": (b"\x02" + gone[1:], "message version 2; this is 1"),
        "unknown-field": (_raw(4, "f", "b", 1, "new"), "at most length"),
        "missing-field": (_raw(4, "f", "b"), "at least length"),
        "unknown-kind": (_raw(99, "f", "b", 1), "Invalid value 99"),
        "kind-as-text": (_raw("4", "f", "b", 1), "Expected `int`"),
        "trailing-bytes": (gone + b"\x00", "trailing"),
        "truncated": (gone[:-1], "truncated"),
        "too-long-id": (_raw(4, "f", LONGEST + "x", 1), "length <= 32"),
        "empty-id": (_raw(4, "f", "", 1), "length >= 1"),
        "newline-in-id": (_raw(4, "f", "box\n", 1), "matching regex"),
        "upper-case-id": (_raw(4, "f", "Box", 1), "matching regex"),
        "slash-in-id": (_raw(4, "f", "a/b", 1), "matching regex"),
        "id-as-bytes": (_raw(4, "f", b"b", 1), "Expected `str`"),
        "text-not-utf-8": (b"\x01\x94\x04\xa1\xff\xa1b\x01", "utf-8"),
        "counter-too-large": (_raw(4, "f", "b", 2**40 + 1), "<= 1099511627776"),
        "counter-negative": (_raw(4, "f", "b", -1), ">= 0"),
        "counter-as-float": (_raw(4, "f", "b", 1.5), "Expected `int`"),
        "map-instead-of-array": (b"\x01\x81\xa1f\xa1b", "Expected `array`"),
        "extension-type": (b"\x01\x94\x04\xa1f\xa1b\xd4\x05\x00", "got `ext`"),
        "timestamp-extension": (b"\x01\x94\x04\xa1f\xa1b\xd6\xff\0\0\0\0", "got `ext`"),
        "nan-metric": (_raw(*update[:-1], nan), "not a finite number"),
        "infinite-metric": (_raw(*update[:-1], infinite), "not a finite number"),
        "huge-array-declared": (b"\x01\xdd\xff\xff\xff\xff\x04", "truncated"),
        "huge-bytes-declared": (b"\x01\x97\x16\xc6\xff\xff\xff\xff", "length <= 16"),
        "huge-text-declared": (b"\x01\x94\x04\xdb\xff\xff\xff\xff", "truncated"),
        "huge-tuple-declared": (b"\x01\x92\x19\xdd\xff\xff\xff\xff", "length <= 64"),
    }
    return {
        name: {
            "hex": data.hex(),
            "says": says,
            "family": "sealed" if data[2:3] in _SEALED else "signed",
        }
        for name, (data, says) in known.items()
    }


def envelope() -> object:
    signer = Identity(SEED)
    return {
        "seed": SEED.hex(),
        "public": signer.public.hex(),
        "context": CONTEXT.hex(),
        "case": "gone",
        "envelope": sign(CASES["gone"], signer).hex(),
    }


def refused_envelopes() -> object:
    good = sign(CASES["gone"], Identity(SEED))
    body = good[66:]
    no_context = b"\x01\x01" + Identity(SEED).sign(body) + body
    return {
        "truncated": {"hex": good[:65].hex(), "error": "RemoteError"},
        "wrong-version": {"hex": (b"\x02" + good[1:]).hex(), "error": "RemoteError"},
        "unknown-algorithm": {"hex": (b"\x01\x02" + good[2:]).hex(), "error": "RemoteError"},
        "body-altered": {"hex": _flipped(good, -1).hex(), "error": "SealError"},
        "signature-altered": {"hex": _flipped(good, 2).hex(), "error": "SealError"},
        "trailing-bytes": {"hex": (good + b"\0").hex(), "error": "SealError"},
        "another-signer": {
            "hex": sign(CASES["gone"], Identity(OTHER_SEED)).hex(),
            "error": "SealError",
        },
        "signed-without-context": {"hex": no_context.hex(), "error": "SealError"},
        "another-kind": {
            "hex": sign(CASES["revoked"], Identity(SEED)).hex(),
            "error": "RemoteError",
        },
    }


def _flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def _sealed(message: Message, signer: Identity | None) -> bytes:
    return sealing.seal(encode(message), EPOCH, sealing.Key(KEY), SEQUENCE, signer)


def frames() -> object:
    return {
        "key": KEY.hex(),
        "epoch": EPOCH.hex(),
        "sequence": SEQUENCE,
        "signer": Identity(SEED).public.hex(),
        "plain": {"case": "report-bare", "frame": _sealed(CASES["report-bare"], None).hex()},
        "signed": {
            "case": "update-21-numbers",
            "frame": _sealed(SMALL_UPDATE, Identity(SEED)).hex(),
        },
    }


def refused_frames() -> object:
    plain, signed = _sealed(CASES["report-bare"], None), _sealed(SMALL_UPDATE, Identity(SEED))
    late = struct.pack(">Q", 2**32)
    return {
        "truncated": {"hex": plain[:33].hex(), "error": "RemoteError"},
        "wrong-version": {"hex": (b"\x02" + plain[1:]).hex(), "error": "RemoteError"},
        "unknown-suite": {"hex": (b"\x01\x03" + plain[2:]).hex(), "error": "RemoteError"},
        "sequence-too-high": {
            "hex": (plain[:10] + late + plain[18:]).hex(),
            "error": "RemoteError",
        },
        "wrong-tag": {"hex": _flipped(plain, -1).hex(), "error": "SealError"},
        "another-epoch": {"hex": _flipped(plain, 2).hex(), "error": "SealError"},
        "another-sequence": {"hex": _flipped(plain, 17).hex(), "error": "SealError"},
        "trailing-byte": {"hex": (plain + b"\0").hex(), "error": "SealError"},
        "signature-cut-off": {"hex": signed[:-64].hex(), "error": "SealError"},
        "signed-called-plain": {"hex": (b"\x01\x01" + signed[2:]).hex(), "error": "SealError"},
        "plain-called-signed": {"hex": (b"\x01\x02" + plain[2:]).hex(), "error": "SealError"},
        "another-signer": {
            "hex": _sealed(SMALL_UPDATE, Identity(OTHER_SEED)).hex(),
            "error": "SealError",
        },
    }


def epoch() -> object:
    whole = sealing.transcript(b"birth", b"offer", b"secret of the accept")
    made = sealing.derive_epoch(b"B" * 32, b"C" * 32, whole)
    return {
        "box_secret": (b"B" * 32).hex(),
        "coordinator_secret": (b"C" * 32).hex(),
        "transcript_of": ["birth", "offer", "secret of the accept"],
        "transcript": whole.hex(),
        "id": made.id.hex(),
        "up": made.up.secret.hex(),
        "down": made.down.secret.hex(),
    }


def blob() -> object:
    plaintext = b"a model"
    ref, sealed = blobs.encrypt(plaintext, KEY)
    return {
        "job_key": KEY.hex(),
        "plaintext": plaintext.hex(),
        "digest": ref.digest.hex(),
        "address": ref.address.hex(),
        "map": blobs.chunk_map(sealed).hex(),
        "sealed": sealed.hex(),
    }


def replay() -> object:
    trace, window = [], Window()
    for sequence in (0, 0, 2, 1, 2, 65, 1, 2, 3, 200, 136, 137, 137, 199, 2**32 - 1, 200):
        after = admit(window, sequence)
        trace.append([sequence, after is not None])
        window = after or window
    return trace


def token() -> object:
    return {
        "url": TOKEN.url,
        "fleet": TOKEN.fleet,
        "root": TOKEN.root.hex(),
        "id": TOKEN.id,
        "secret": TOKEN.secret.hex(),
        "text": token_text(TOKEN),
    }


def refused_tokens() -> object:
    text = token_text(TOKEN)
    return {
        "empty": "",
        "no-prefix": text[len(PREFIX) :],
        "next-version": "qf2." + text[len(PREFIX) :],
        "cut-short": text[:-4],
        "too-long": text + "A" * 1024,
        "not-base64": PREFIX + "\N{SNOWMAN}",
        "prefix-only": PREFIX,
    }


FILES: dict[str, Callable[[], object]] = {
    "messages-encode-to-these-bytes": messages,
    "messages-refused": refused_messages,
    "envelope-opens": envelope,
    "envelopes-refused": refused_envelopes,
    "frames-open": frames,
    "frames-refused": refused_frames,
    "epoch-is-derived": epoch,
    "blob-opens": blob,
    "replays-are-taken-once": replay,
    "join-token-parses": token,
    "join-tokens-refused": refused_tokens,
}


def text_of(made: object) -> str:
    return json.dumps(made, indent=1) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, make in FILES.items():
        (FOLDER / f"{name}.json").write_text(text_of(make()))


if __name__ == "__main__":
    main()
