"""Costed locks are as large as the real ones, to the byte, and still notice what was altered."""

import pytest

from firmware_sim.costed import COSTED, NoIdentity
from proto.codec import encode
from proto.errors import SealError
from proto.exchange import Agreed
from proto.identity import Identity
from proto.locks import REAL, Locks
from proto.messages import Ack, Birth, Era, KeyOffer, Piece
from proto.sealing import Epoch, Key

ERA = Era(number=1, nonce=b"e" * 8)


KEY = Key(b"k" * 32)


def exchanged(
    locks: Locks, box: Identity, coordinator: Identity
) -> tuple[list[int], Epoch, Agreed]:
    """Sizes of a birth, a key offer and an accept; the epoch at either end."""
    kem = locks.kem_pair()
    birth = Birth(
        fleet="sim", box="pi-1", session=3, kem=kem.public, era=None, turn=0, release="0.1.0"
    )
    asked = locks.ask(birth, kem, box)
    offered = locks.offer(asked.birth, birth, ERA, coordinator)
    message = locks.open_signed(offered.offer, KeyOffer, coordinator.public)
    agreed = locks.accept(asked, offered.offer, message, box, b"a report")
    epoch, _ = locks.finish(offered, agreed.accept, box.public)
    return [len(asked.birth), len(offered.offer), len(agreed.accept)], epoch, agreed


def test_a_whole_key_exchange_has_the_sizes_of_a_real_one():
    real = exchanged(REAL, Identity.generate(), Identity.generate())
    costed = exchanged(COSTED, NoIdentity("pi-1"), NoIdentity("coordinator"))
    assert costed[0] == real[0]
    assert costed[1] == costed[2].epoch
    assert real[1] == real[2].epoch


@pytest.mark.parametrize("size", [1, 97, 5000])
@pytest.mark.parametrize("signed", [False, True])
def test_frames_and_envelopes_have_the_sizes_of_real_ones(size, signed):
    box, nobody = Identity.generate(), NoIdentity("pi-1")
    message, epoch = Piece(id=b"i" * 16, turn=1, index=0, count=2, data=b"x" * size), b"e" * 8
    real = REAL.seal(message, epoch, KEY, 7, box if signed else None)
    costed = COSTED.seal(message, epoch, KEY, 7, nobody if signed else None)
    assert len(costed) == len(real)
    for same in (costed, bytes(costed)):
        assert COSTED.peek(same) == REAL.peek(real)
        assert COSTED.open(same, KEY, b"") == message == REAL.open(real, KEY, box.public)
    assert len(COSTED.sign(ERA, nobody)) == len(REAL.sign(ERA, box)) == 66 + len(encode(ERA))


def test_a_costed_frame_that_was_cut_or_altered_is_refused():
    frame = COSTED.seal(Ack(items=()), b"e" * 8, KEY, 0, None)
    for bad in (frame[:-1] + b"\x01", frame + b"\x02"):
        with pytest.raises(SealError, match="altered"):
            COSTED.open(bad, KEY, None)
