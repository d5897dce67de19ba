"""Three signed steps give two ends one epoch, and nobody else a part of it."""

import pytest
from msgspec.structs import replace

from proto import exchange, sealing
from proto.codec import encode
from proto.errors import RemoteError, SealError
from proto.identity import Identity, open_signed, sign
from proto.messages import Birth, KeyAccept, KeyOffer
from tests.proto.cases import CASES, ERA

BOX, COORDINATOR, STRANGER = (Identity(bytes([n]) * 32) for n in (1, 2, 3))
REPORT = encode(CASES["report-bare"])


def ask(box: Identity = BOX) -> exchange.Asked:
    kem = sealing.KemPair()
    birth = Birth(fleet="f", box="b", session=1, kem=kem.public, era=None, turn=0, release="1")
    return exchange.ask(birth, kem, box)


def offer(asked: exchange.Asked) -> exchange.Offered:
    birth = open_signed(asked.birth, Birth, BOX.public)
    return exchange.offer(asked.birth, birth, ERA, COORDINATOR)


def accept(asked: exchange.Asked, offered: exchange.Offered) -> exchange.Agreed:
    key_offer = open_signed(offered.offer, KeyOffer, COORDINATOR.public)
    return exchange.accept(asked, offered.offer, key_offer, BOX, REPORT)


def test_both_ends_hold_the_same_epoch_and_the_first_frame_opens():
    asked = ask()
    offered = offer(asked)
    agreed = accept(asked, offered)
    epoch, frame = exchange.finish(offered, agreed.accept, BOX.public)
    assert epoch == agreed.epoch
    assert agreed.era == ERA
    assert sealing.peek(frame) == sealing.Frame(epoch.id, 0, signed=False)
    assert sealing.open_(frame, epoch.up, None) == REPORT


def test_the_two_directions_and_every_exchange_have_keys_of_their_own():
    epochs = []
    for _ in range(3):
        asked = ask()
        epochs.append(accept(asked, offer(asked)).epoch)
    keys = [key for epoch in epochs for key in (epoch.id, epoch.up, epoch.down)]
    assert len(set(keys)) == 9


def test_one_birth_offered_to_twice_gives_two_epochs():
    asked = ask()
    first, second = offer(asked), offer(asked)
    assert accept(asked, first).epoch != accept(asked, second).epoch


def test_an_offer_to_another_birth_is_told_apart_and_does_not_open():
    older, newer = ask(), ask()
    offered = offer(older)
    key_offer = open_signed(offered.offer, KeyOffer, COORDINATOR.public)
    assert exchange.answers(older, key_offer)
    assert not exchange.answers(newer, key_offer)
    with pytest.raises(SealError, match="cannot be opened"):
        accept(newer, offered)


def test_an_accept_of_another_offer_is_refused():
    asked = ask()
    first, second = offer(asked), offer(asked)
    with pytest.raises(SealError, match="another offer"):
        exchange.finish(second, accept(asked, first).accept, BOX.public)


def test_an_accept_that_another_box_signed_is_refused():
    asked = ask()
    offered = offer(asked)
    message = open_signed(accept(asked, offered).accept, KeyAccept, BOX.public)
    with pytest.raises(SealError, match="not signed by"):
        exchange.finish(offered, sign(message, STRANGER), BOX.public)


def test_a_tampered_secret_is_refused_on_both_ends():
    asked = ask()
    offered = offer(asked)
    key_offer = open_signed(offered.offer, KeyOffer, COORDINATOR.public)
    last = bytes([key_offer.secret[-1] ^ 1])
    bent = replace(key_offer, secret=key_offer.secret[:-1] + last)
    with pytest.raises(SealError, match="cannot be opened"):
        exchange.accept(asked, sign(bent, COORDINATOR), bent, BOX, REPORT)
    message = open_signed(accept(asked, offered).accept, KeyAccept, BOX.public)
    with pytest.raises(SealError, match="cannot be opened"):
        exchange.finish(offered, sign(replace(message, secret=bytes(1152)), BOX), BOX.public)


def test_a_secret_cannot_be_carried_to_another_kem_key():
    asked = ask()
    offered = offer(asked)
    key_offer = open_signed(offered.offer, KeyOffer, COORDINATOR.public)
    moved = replace(key_offer, kem=sealing.KemPair().public)
    with pytest.raises(SealError, match="cannot be opened"):
        exchange.accept(asked, sign(moved, COORDINATOR), moved, BOX, REPORT)


def test_an_offer_altered_on_the_way_gives_no_common_epoch():
    asked = ask()
    offered = offer(asked)
    key_offer = open_signed(offered.offer, KeyOffer, COORDINATOR.public)
    newer = replace(key_offer, era=replace(ERA, number=ERA.number + 1))
    agreed = exchange.accept(asked, sign(newer, COORDINATOR), newer, BOX, REPORT)
    with pytest.raises(SealError, match="another offer"):
        exchange.finish(offered, agreed.accept, BOX.public)


def test_a_first_frame_of_another_exchange_does_not_open():
    asked = ask()
    offered = offer(asked)
    message = open_signed(accept(asked, offered).accept, KeyAccept, BOX.public)
    other = ask()
    foreign = open_signed(accept(other, offer(other)).accept, KeyAccept, BOX.public)
    swapped = sign(replace(message, report=foreign.report), BOX)
    epoch, frame = exchange.finish(offered, swapped, BOX.public)
    with pytest.raises(SealError):
        sealing.open_(frame, epoch.up, None)


def test_a_birth_with_an_unusable_key_gets_no_offer():
    asked = ask()
    birth = open_signed(asked.birth, Birth, BOX.public)
    with pytest.raises(RemoteError, match="not a usable KEM key"):
        exchange.offer(asked.birth, replace(birth, kem=b"\xff" * 1216), ERA, COORDINATOR)
