"""One token, one box, one fleet: what a joining box and a coordinator accept of each other."""

import pytest
from msgspec.structs import replace

from proto import joining
from proto.codec import decode_signed
from proto.errors import ConfigError, RemoteError, SealError
from proto.identity import Identity, sign
from proto.messages import Admission, JoinAnswer, JoinRequest, KeyRecord
from proto.sealing import KemPair, seal_to

ROOT, COORDINATOR, BOX, STRANGER = (Identity(bytes([n]) * 32) for n in (1, 2, 3, 4))
TOKEN = joining.Token("mqtts://broker:8883", "fleet", ROOT.public, "t-1", b"0123456789abcdef")
VERIFIER = joining.token_key(TOKEN.secret).public
KEM = KemPair()
REQUEST = joining.request(TOKEN, "box-1", BOX, KEM)
ADMISSION = Admission(fleet="fleet", box="box-1", username="box-1", password="pw", ca="")


def record(fleet: str = "fleet", root: Identity = ROOT) -> bytes:
    content = KeyRecord(fleet=fleet, serial=1, key=COORDINATOR.public, expires=10)
    return sign(content, root)


def answer(content: Admission | str = ADMISSION) -> bytes:
    return joining.answer(REQUEST, record(), COORDINATOR, content)


# --- the token ------------------------------------------------------------------------------------


def test_a_token_is_one_word_that_parses_to_itself():
    text = joining.token_text(TOKEN)
    assert text.isascii()
    assert text.split() == [text]
    assert joining.parse_token(f"  {text}\n") == TOKEN


def test_a_token_with_the_longest_of_everything_parses():
    longest = joining.Token("m" * 300, "f" * 32, ROOT.public, "t" * 32, bytes(16))
    assert joining.parse_token(joining.token_text(longest)) == longest


def test_a_token_cut_anywhere_asks_for_the_whole_line():
    text = joining.token_text(TOKEN)
    for size in range(len(text)):
        with pytest.raises(ConfigError, match="join token"):
            joining.parse_token(text[:size])


def test_the_coordinators_verifier_and_the_brokers_password_do_not_hold_the_secret():
    password = joining.broker_password(TOKEN.secret)
    assert len(VERIFIER) == 32
    assert TOKEN.secret.hex() not in password
    assert bytes.fromhex(password) != joining.token_key(TOKEN.secret).secret_bytes()


# --- the request ----------------------------------------------------------------------------------


def test_a_request_by_the_tokens_holder_opens():
    request = joining.open_request(REQUEST, VERIFIER)
    assert joining.token_of(REQUEST) == "t-1"
    assert (request.box, request.key, request.kem) == ("box-1", BOX.public, KEM.public)


def test_a_request_made_with_another_secret_is_refused():
    guessed = replace(TOKEN, secret=b"fedcba9876543210")
    with pytest.raises(SealError, match="not signed by"):
        joining.open_request(joining.request(guessed, "box-1", BOX, KEM), VERIFIER)


@pytest.mark.parametrize(
    "change",
    [{"box": "box-2"}, {"token": "t-2"}, {"kem": KemPair().public}, {"proof": bytes(64)}],
    ids=lambda change: next(iter(change)),
)
def test_a_proof_does_not_cover_anything_but_its_own_request(change):
    altered = replace(decode_signed(REQUEST[66:], JoinRequest), **change)
    with pytest.raises(SealError, match="not signed by"):
        joining.open_request(sign(altered, BOX), VERIFIER)


def test_a_request_cannot_be_taken_over_by_another_key():
    seen = decode_signed(REQUEST[66:], JoinRequest)
    with pytest.raises(SealError):
        joining.open_request(sign(seen, STRANGER), VERIFIER)
    with pytest.raises(SealError):
        joining.open_request(sign(replace(seen, key=STRANGER.public), STRANGER), VERIFIER)


# --- the answer -----------------------------------------------------------------------------------


def test_an_admission_reaches_the_box_with_the_coordinators_record():
    admission, key_record, kept = joining.open_answer(answer(), TOKEN, REQUEST, KEM)
    assert admission == ADMISSION
    assert key_record.key == COORDINATOR.public
    assert kept == record()


def test_a_refusal_reaches_the_box_as_a_sentence():
    content, _, _ = joining.open_answer(answer("used already"), TOKEN, REQUEST, KEM)
    assert content == "used already"


def test_nobody_on_the_way_can_read_the_brokers_password():
    secret = replace(ADMISSION, password="correct horse battery staple")
    assert b"correct horse" not in answer(secret)


def test_an_answer_of_another_fleets_root_is_refused():
    forged = joining.answer(REQUEST, record(root=STRANGER), COORDINATOR, ADMISSION)
    with pytest.raises(SealError, match="not signed by"):
        joining.open_answer(forged, TOKEN, REQUEST, KEM)


def test_an_answer_of_another_coordinator_is_refused():
    forged = joining.answer(REQUEST, record(), STRANGER, ADMISSION)
    with pytest.raises(SealError, match="not signed by"):
        joining.open_answer(forged, TOKEN, REQUEST, KEM)


def test_an_answer_to_another_request_is_refused():
    other = joining.request(TOKEN, "box-1", BOX, KEM)
    later = joining.request(TOKEN, "box-2", BOX, KEM)
    assert other == REQUEST  # asking again with the same keys is the same request
    with pytest.raises(SealError, match="another join request"):
        joining.open_answer(answer(), TOKEN, later, KEM)


def test_an_answer_sealed_to_another_key_is_refused():
    with pytest.raises(SealError, match="cannot be opened"):
        joining.open_answer(answer(), TOKEN, REQUEST, KemPair())


def test_an_admission_moved_into_another_answer_is_refused():
    message = decode_signed(answer()[66:], JoinAnswer)
    elsewhere = seal_to(KEM.public, b"", b"another request's digest")
    with pytest.raises(SealError, match="cannot be opened"):
        joining.open_answer(
            sign(replace(message, admission=elsewhere), COORDINATOR), TOKEN, REQUEST, KEM
        )


@pytest.mark.parametrize("where", ["admission", "record"])
def test_an_admission_to_another_fleet_is_refused(where):
    content = replace(ADMISSION, fleet="other") if where == "admission" else ADMISSION
    told = record("other") if where == "record" else record()
    with pytest.raises(RemoteError, match="another fleet"):
        joining.open_answer(
            joining.answer(REQUEST, told, COORDINATOR, content), TOKEN, REQUEST, KEM
        )
