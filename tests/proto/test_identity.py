"""Whose word counts: the root's for the coordinator, and the coordinator's for its state."""

import pytest
from msgspec.structs import replace

from proto.errors import RemoteError, SealError
from proto.identity import (
    Identity,
    fingerprint,
    open_record,
    open_signed,
    open_state,
    sign,
    verify,
)
from proto.messages import CoordinatorState, Gone, KeyRecord, Revoked
from tests.proto.cases import ERA

ROOT, OTHER_ROOT, COORDINATOR, OLD_COORDINATOR = (Identity(bytes([n]) * 32) for n in (1, 2, 3, 4))
RECORD = KeyRecord(fleet="fleet", serial=5, key=COORDINATOR.public, expires=1000)
STATE = CoordinatorState(
    fleet="fleet", record=sign(RECORD, ROOT), session=1, era=ERA, roster=1, time=999, online=True
)
GONE = Gone(fleet="fleet", box="b", session=1)


def state(signer: Identity = COORDINATOR, **changes: object) -> bytes:
    return sign(replace(STATE, **changes), signer)


def record(signer: Identity = ROOT, **changes: object) -> bytes:
    return sign(replace(RECORD, **changes), signer)


def test_an_identity_is_its_seed_again_after_a_restart():
    first = Identity.generate()
    again = Identity(first.secret_bytes())
    assert again.public == first.public
    verify(first.public, again.sign(b"data"), b"data")
    assert fingerprint(first.public) != fingerprint(Identity.generate().public)


def test_a_signed_message_opens_for_its_signer_alone():
    assert open_signed(sign(GONE, ROOT), Gone, ROOT.public) == GONE
    with pytest.raises(SealError, match=fingerprint(OTHER_ROOT.public)):
        open_signed(sign(GONE, ROOT), Gone, OTHER_ROOT.public)


def test_a_signed_message_is_of_one_kind_only():
    with pytest.raises(RemoteError, match="a Gone where a Revoked was expected"):
        open_signed(sign(GONE, ROOT), Revoked, ROOT.public)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_what_is_no_public_key_has_signed_nothing(key):
    with pytest.raises(SealError):
        verify(key, bytes(64), b"data")


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64])
def test_what_is_no_signature_proves_nothing(signature):
    with pytest.raises(SealError):
        verify(ROOT.public, signature, b"data")


def test_every_altered_byte_of_an_envelope_is_noticed():
    good = sign(GONE, ROOT)
    for at in range(len(good)):
        bad = good[:at] + bytes([good[at] ^ 0x80]) + good[at + 1 :]
        with pytest.raises(RemoteError):
            open_signed(bad, Gone, ROOT.public)


# --- the key record -------------------------------------------------------------------------------


def test_a_record_of_the_same_or_a_higher_serial_is_accepted():
    for lowest in (0, 4, 5):
        assert open_record(record(), ROOT.public, lowest) == RECORD


def test_a_record_whose_serial_has_fallen_is_refused():
    with pytest.raises(SealError, match="serial 5, but 6 was seen before"):
        open_record(record(), ROOT.public, 6)


def test_a_record_that_another_root_signed_is_refused():
    with pytest.raises(SealError):
        open_record(record(OTHER_ROOT), ROOT.public, 0)


def test_a_record_that_the_coordinator_signed_for_itself_is_refused():
    with pytest.raises(SealError):
        open_record(record(COORDINATOR), ROOT.public, 0)


# --- the coordinator's state ----------------------------------------------------------------------


def test_a_state_that_chains_to_the_root_is_believed():
    assert open_state(state(), ROOT.public, 5) == (STATE, RECORD)


def test_a_state_is_believed_until_the_second_its_record_expires():
    assert open_state(state(time=1000), ROOT.public, 0)[0].time == 1000
    with pytest.raises(SealError, match="has expired"):
        open_state(state(time=1001), ROOT.public, 0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (state(OLD_COORDINATOR), "not signed by"),
        (state(ROOT), "not signed by"),
        (state(record=record(OTHER_ROOT)), "not signed by"),
        (state(record=record(serial=4)), "was seen before"),
        (state(fleet="other"), "another fleet"),
        (state(record=record(fleet="other")), "another fleet"),
    ],
    ids=["old key", "root itself", "other root", "old record", "other fleet", "foreign record"],
)
def test_a_state_that_does_not_chain_to_the_root_is_refused(data, why):
    with pytest.raises(SealError, match=why):
        open_state(data, ROOT.public, 5)


@pytest.mark.parametrize("inner", [b"", b"noise", sign(GONE, ROOT)])
def test_a_state_without_a_record_is_refused(inner):
    with pytest.raises(RemoteError):
        open_state(state(record=inner), ROOT.public, 0)


def test_a_new_key_of_the_coordinator_takes_over_and_the_old_one_is_out():
    newer = replace(RECORD, serial=6, key=OLD_COORDINATOR.public)
    after = state(OLD_COORDINATOR, record=sign(newer, ROOT))
    assert open_state(after, ROOT.public, 5)[1] == newer
    with pytest.raises(SealError, match="was seen before"):
        open_state(state(), ROOT.public, newer.serial)
