"""The wire as files: whoever writes another Qfleet must produce and refuse exactly these bytes."""

import hashlib
import json
import re
from typing import Any

import pytest

from proto import blobs, sealing
from proto.codec import decode_sealed, decode_signed, encode
from proto.errors import ConfigError, RemoteError, SealError
from proto.identity import Identity, open_signed, sign
from proto.joining import parse_token, token_text
from proto.messages import BlobRef, Gone, Message
from proto.replay import Window, admit
from tests.proto.cases import CASES, SEALED_KINDS, SIGNED_KINDS
from tests.proto.make_vectors import FILES, FOLDER, text_of

ERRORS = {"RemoteError": RemoteError, "SealError": SealError}


def vector(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def decoded(data: bytes, kind: type[Message]) -> Message:
    return decode_sealed(data) if kind in SEALED_KINDS else decode_signed(data, kind)


def test_the_vectors_are_complete_and_made_from_the_cases():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(FILES)
    for name, make in FILES.items():
        assert (FOLDER / f"{name}.json").read_text() == text_of(make()), name


def test_every_kind_of_message_has_a_case():
    assert {type(case) for case in CASES.values()} == {*SIGNED_KINDS, *SEALED_KINDS}


@pytest.mark.parametrize("name", CASES)
def test_a_message_has_its_golden_bytes(name):
    golden, case = vector("messages-encode-to-these-bytes")[name], CASES[name]
    data = encode(case)
    assert type(case).__name__ == golden["kind"]
    if "hex" in golden:
        data = bytes.fromhex(golden["hex"])
    assert (len(data), hashlib.sha256(data).hexdigest()) == (
        golden.get("length", len(data)),
        golden.get("sha256", hashlib.sha256(encode(case)).hexdigest()),
    )
    assert decoded(data, type(case)) == case


@pytest.mark.parametrize("name", vector("messages-refused"))
def test_a_bad_message_is_refused_for_the_right_reason(name):
    bad = vector("messages-refused")[name]
    kind = SEALED_KINDS[0] if bad["family"] == "sealed" else Message
    with pytest.raises(RemoteError, match=re.escape(bad["says"])):
        decoded(bytes.fromhex(bad["hex"]), kind)


def test_the_envelope_opens_and_signing_again_gives_the_same_bytes():
    golden = vector("envelope-opens")
    data, public = bytes.fromhex(golden["envelope"]), bytes.fromhex(golden["public"])
    signer = Identity(bytes.fromhex(golden["seed"]))
    assert signer.public == public
    assert open_signed(data, Gone, public) == CASES[golden["case"]]
    assert sign(CASES[golden["case"]], signer) == data


@pytest.mark.parametrize("name", vector("envelopes-refused"))
def test_a_bad_envelope_is_refused(name):
    bad, public = vector("envelopes-refused")[name], vector("envelope-opens")["public"]
    with pytest.raises(RemoteError) as refusal:
        open_signed(bytes.fromhex(bad["hex"]), Gone, bytes.fromhex(public))
    assert refusal.type is ERRORS[bad["error"]]


@pytest.mark.parametrize("name", ["plain", "signed"])
def test_a_frame_opens(name):
    golden = vector("frames-open")
    data = bytes.fromhex(golden[name]["frame"])
    assert sealing.peek(data) == sealing.Frame(
        bytes.fromhex(golden["epoch"]), golden["sequence"], signed=name == "signed"
    )
    signer = bytes.fromhex(golden["signer"])
    body = sealing.open_(data, sealing.Key(bytes.fromhex(golden["key"])), signer)
    assert decode_sealed(body) == CASES[golden[name]["case"]]


@pytest.mark.parametrize("name", vector("frames-refused"))
def test_a_bad_frame_is_refused(name):
    bad, golden = vector("frames-refused")[name], vector("frames-open")
    key = sealing.Key(bytes.fromhex(golden["key"]))
    signer = bytes.fromhex(golden["signer"])
    with pytest.raises(RemoteError) as refusal:
        sealing.open_(bytes.fromhex(bad["hex"]), key, signer)
    assert refusal.type is ERRORS[bad["error"]]


def test_the_epoch_is_derived():
    golden = vector("epoch-is-derived")
    whole = sealing.transcript(*(part.encode() for part in golden["transcript_of"]))
    assert whole.hex() == golden["transcript"]
    secrets = (bytes.fromhex(golden[f"{side}_secret"]) for side in ("box", "coordinator"))
    epoch = sealing.derive_epoch(*secrets, whole)
    assert [epoch.id.hex(), epoch.up.secret.hex(), epoch.down.secret.hex()] == [
        golden[part] for part in ("id", "up", "down")
    ]


def test_the_blob_opens():
    golden = {name: bytes.fromhex(text) for name, text in vector("blob-opens").items()}
    sealed = golden["sealed"]
    ref = BlobRef(digest=golden["digest"], address=golden["address"], size=len(sealed))
    assert blobs.decrypt(ref, sealed, golden["job_key"]) == golden["plaintext"]
    assert blobs.encrypt(golden["plaintext"], golden["job_key"]) == (ref, sealed)
    assert blobs.chunk_map(sealed) == golden["map"]


def test_a_sequence_is_taken_once_and_not_when_too_old():
    window = Window()
    for sequence, taken in vector("replays-are-taken-once"):
        after = admit(window, sequence)
        assert (after is not None) == taken, sequence
        window = after or window


def test_the_join_token_parses():
    golden = vector("join-token-parses")
    token = parse_token(golden["text"])
    assert [token.url, token.fleet, token.root.hex(), token.id, token.secret.hex()] == [
        golden[part] for part in ("url", "fleet", "root", "id", "secret")
    ]
    assert token_text(token) == golden["text"]


@pytest.mark.parametrize("name", vector("join-tokens-refused"))
def test_a_bad_join_token_is_refused(name):
    with pytest.raises(ConfigError, match="join token"):
        parse_token(vector("join-tokens-refused")[name])
