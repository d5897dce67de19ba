"""Frames: small, sealed for one other end, believed once; and no secret ever shows itself."""

import hashlib
import hmac
import struct
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from coordinator.keys import make_keys
from edge_client import secure
from proto import exchange, joining, sealing
from proto.codec import decode_sealed, encode
from proto.errors import LocalError, RemoteError, SealError
from proto.identity import Identity, open_signed, sign
from proto.messages import Birth, Gone
from proto.replay import Window, admit
from tests.proto.cases import CASES, ERA, SMALL_UPDATE

BOX, STRANGER = Identity(b"b" * 32), Identity(b"s" * 32)
EPOCH = sealing.Epoch(id=b"epoch-id", up=sealing.Key(b"u" * 32), down=sealing.Key(b"d" * 32))
BODY = encode(CASES["report-bare"])


def plain(sequence: int = 3) -> bytes:
    return sealing.seal(BODY, EPOCH.id, EPOCH.up, sequence, None)


def signed() -> bytes:
    return sealing.seal(encode(SMALL_UPDATE), EPOCH.id, EPOCH.up, 3, BOX)


def by_hand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of RFC 5869, written out."""
    out = block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


# --- size and round trip --------------------------------------------------------------------------


def test_an_update_of_21_numbers_at_8_bits_takes_at_most_400_bytes():
    assert len(SMALL_UPDATE.payload) == 27
    assert SMALL_UPDATE.metrics is not None
    assert SMALL_UPDATE.turn == SMALL_UPDATE.metrics.shots == 2**40
    assert len(signed()) <= 400


def test_a_sealed_message_comes_out_as_it_went_in():
    assert decode_sealed(sealing.open_(plain(), EPOCH.up, None)) == CASES["report-bare"]
    assert decode_sealed(sealing.open_(signed(), EPOCH.up, BOX.public)) == SMALL_UPDATE


@pytest.mark.parametrize("sequence", [0, 2**32 - 1])
def test_a_frame_says_its_epoch_and_place(sequence):
    claimed = sealing.peek(plain(sequence))
    assert claimed == sealing.Frame(EPOCH.id, sequence, signed=False)


@pytest.mark.parametrize("sequence", [-1, 2**32])
def test_an_epoch_that_is_used_up_seals_nothing_more(sequence):
    with pytest.raises(LocalError, match="used up"):
        plain(sequence)


def test_the_largest_message_still_fits_one_frame():
    largest = encode(CASES["update-largest"])
    frame = sealing.seal(largest, EPOCH.id, EPOCH.up, 0, BOX)
    assert len(frame) == len(largest) + 18 + 16 + 64
    assert sealing.open_(frame, EPOCH.up, BOX.public) == largest


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [plain(), signed()], ids=["plain", "signed"])
def test_a_frame_with_any_one_bit_changed_is_refused(frame):
    for bit in range(8 * len(frame)):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError):
            sealing.open_(bytes(altered), EPOCH.up, BOX.public)


@pytest.mark.parametrize("frame", [plain(), signed()], ids=["plain", "signed"])
def test_a_frame_cut_anywhere_is_refused(frame):
    for size in range(len(frame)):
        with pytest.raises(RemoteError):
            sealing.open_(frame[:size], EPOCH.up, BOX.public)


@pytest.mark.parametrize("frame", [plain(), signed()], ids=["plain", "signed"])
def test_a_frame_does_not_open_with_the_other_directions_key(frame):
    with pytest.raises(SealError, match="another key"):
        sealing.open_(frame, EPOCH.down, BOX.public)


def test_a_frame_moved_to_another_epoch_is_refused():
    moved = plain()[:2] + b"epoch-no" + plain()[10:]
    with pytest.raises(SealError):
        sealing.open_(moved, EPOCH.up, None)


def test_a_frame_under_another_sequence_has_another_key():
    first, second = plain(1), plain(2)
    assert first[18:] != second[18:]
    with pytest.raises(SealError):
        sealing.open_(first[:18] + second[18:], EPOCH.up, None)


def test_a_signed_frame_of_another_box_is_refused_even_under_the_right_key():
    with pytest.raises(SealError, match="not signed by"):
        sealing.open_(signed(), EPOCH.up, STRANGER.public)


def test_a_signed_frame_is_refused_where_nobody_may_sign():
    with pytest.raises(SealError, match="where none is accepted"):
        sealing.open_(signed(), EPOCH.up, None)


def test_a_signature_cannot_be_taken_off_nor_put_on_by_another():
    frame = signed()
    stripped = b"\1\1" + frame[2:-64]
    with pytest.raises(SealError):
        sealing.open_(stripped, EPOCH.up, BOX.public)
    resigned = frame[:-64] + STRANGER.sign(b"qfleet frame v1\0" + frame[:-64])
    with pytest.raises(SealError):
        sealing.open_(resigned, EPOCH.up, BOX.public)


def test_a_frame_without_a_signature_says_so_before_it_is_believed():
    assert not sealing.peek(plain()).signed
    assert sealing.peek(signed()).signed


def test_the_same_frame_twice_is_taken_once():
    window = admit(Window(), sealing.peek(plain()).sequence)
    assert window is not None
    assert admit(window, sealing.peek(plain()).sequence) is None


def test_a_frames_signature_is_no_envelope_and_an_envelopes_no_frame():
    gone = Gone(fleet="f", box="b", session=1)
    body = encode(gone)
    as_frame = b"\1\1" + BOX.sign(b"qfleet frame v1\0" + body) + body
    with pytest.raises(SealError):
        open_signed(as_frame, Gone, BOX.public)
    assert open_signed(sign(gone, BOX), Gone, BOX.public) == gone


# --- sealing to a key -----------------------------------------------------------------------------


def test_what_is_sealed_to_a_key_opens_with_it_in_the_same_context_only():
    pair, other = sealing.KemPair(), sealing.KemPair()
    sealed = sealing.seal_to(pair.public, b"secret", b"context")
    assert pair.open(sealed, b"context") == b"secret"
    for holder, context in ((pair, b"another context"), (other, b"context")):
        with pytest.raises(SealError, match="cannot be opened"):
            holder.open(sealed, context)


def test_sealing_the_same_twice_never_gives_the_same_bytes():
    pair = sealing.KemPair()
    first, second = (sealing.seal_to(pair.public, b"secret", b"") for _ in range(2))
    assert first != second


def test_a_transcript_moves_no_boundary():
    assert sealing.transcript(b"ab", b"c") != sealing.transcript(b"a", b"bc")
    assert sealing.transcript(b"a") != sealing.transcript(b"a", b"")


# --- against an independent computation -----------------------------------------------------------


def test_a_frame_is_what_the_format_says():
    frame, sequence = signed(), struct.pack(">Q", 3)
    header = b"\x01\x02" + EPOCH.id + sequence
    nonce = bytes(4) + sequence
    sealed = ChaCha20Poly1305(b"u" * 32).encrypt(nonce, encode(SMALL_UPDATE), header)
    assert frame[:-64] == header + sealed
    public = Ed25519PublicKey.from_public_bytes(BOX.public)
    public.verify(frame[-64:], b"qfleet frame v1\0" + header + sealed)


def test_an_envelope_is_what_the_format_says():
    body = encode(CASES["gone"])
    envelope = sign(CASES["gone"], BOX)
    assert envelope[:2] + envelope[66:] == b"\x01\x01" + body
    public = Ed25519PublicKey.from_public_bytes(BOX.public)
    public.verify(envelope[2:66], b"qfleet signed v1\0" + body)


def test_an_epoch_is_derived_from_both_secrets_and_the_transcript():
    whole = hashlib.sha256(
        b"".join(hashlib.sha256(part).digest() for part in (b"birth", b"offer", b"accept"))
    ).digest()
    assert sealing.transcript(b"birth", b"offer", b"accept") == whole
    extracted = hmac.digest(whole, b"B" * 32 + b"C" * 32, "sha256")
    made = by_hand(extracted, b"qfleet epoch v1", 72)
    epoch = sealing.derive_epoch(b"B" * 32, b"C" * 32, whole)
    assert epoch.id + epoch.up.secret + epoch.down.secret == made


# --- nothing secret shows -------------------------------------------------------------------------


def test_no_secret_is_in_any_text_of_what_holds_it(tmp_path):
    pair, seed = sealing.KemPair(), b"\xa5secret seed of an identity\x5a\x01\x02\x03\x04"
    identity = Identity(seed)
    birth = Birth(fleet="f", box="b", session=1, kem=pair.public, era=None, turn=0, release="1")
    asked = exchange.ask(birth, pair, identity)
    offered = exchange.offer(asked.birth, birth, ERA, identity)
    token = joining.Token(
        "mqtt://user:password@h", "f", identity.public, "t-1", b"sixteen secret b"
    )
    keys = make_keys(tmp_path, "f", 0.0)
    assert keys.root is not None
    holders: list[tuple[object, list[bytes]]] = [
        (identity, [seed]),
        (EPOCH, [EPOCH.up.secret, EPOCH.down.secret]),
        (secure.Keys(EPOCH, ERA), [EPOCH.up.secret, EPOCH.down.secret]),
        (pair, []),
        (asked, [seed]),
        (offered, [offered.secret]),
        (replace(offered, secret=seed), [seed]),
        (token, [token.secret, b"password"]),
        (keys, [keys.secret, keys.root.secret_bytes(), keys.identity.secret_bytes()]),
    ]
    for holder, secrets in holders:
        for text in (repr(holder), str(holder), f"{[holder]}"):
            for secret in secrets:
                assert secret.hex() not in text
                assert repr(secret)[2:-1] not in text
