"""Messages that share a frame: who waits, for how long, and what may ride together."""

import pytest

from proto.bundling import MAX_WAITING, Waiting, bundle, holds_update, unbundle
from proto.codec import decode_sealed, encode
from proto.errors import RemoteError
from proto.messages import Ack, Bundle, Pull, Report, Resources
from tests.proto.cases import SHORT, SMALL_UPDATE

YES = Report(turn=3, accepted=True, reason="", resources=Resources())
PULL = Pull(address=SHORT, want=b"")


def test_nothing_is_due_while_nothing_waits():
    waiting = Waiting()
    assert waiting.due == float("inf")
    waiting.add(YES, 5.0)
    assert waiting.take() == [YES]
    assert waiting.due == float("inf")


def test_all_leave_with_the_first_that_is_due():
    waiting = Waiting()
    waiting.add(YES, 5.0)
    waiting.add(PULL, 2.0)
    waiting.add(YES, 9.0)
    assert waiting.due == 2.0
    assert waiting.take() == [YES, PULL, YES]


def test_a_full_frame_waits_for_nothing():
    waiting = Waiting()
    for _ in range(MAX_WAITING):
        assert waiting.due >= 5.0
        waiting.add(YES, 5.0)
    assert waiting.due == float("-inf")
    assert decode_sealed(encode(bundle(waiting.take()))) == Bundle(items=(YES,) * MAX_WAITING)


def test_one_message_travels_as_itself():
    assert bundle([YES]) == YES
    assert unbundle(YES) == (YES,)


def test_several_come_out_in_the_order_they_went_in():
    together = decode_sealed(encode(bundle([YES, SMALL_UPDATE, PULL])))
    assert unbundle(together) == (YES, SMALL_UPDATE, PULL)


def test_a_frame_with_an_update_in_it_is_signed():
    assert holds_update(SMALL_UPDATE)
    assert holds_update(bundle([YES, SMALL_UPDATE]))
    assert not holds_update(bundle([YES, PULL]))


@pytest.mark.parametrize(
    "items",
    [
        (),
        (YES,),
        (YES,) * 9,
        (SMALL_UPDATE, SMALL_UPDATE),
        (Ack(items=()), Bundle(items=(YES, YES))),
    ],
    ids=["none", "one", "too many", "two updates", "a bundle in a bundle"],
)
def test_no_other_bundle_is_accepted(items):
    # Built past the type's own check, as a hostile peer would.
    raw = encode(Bundle(items=(YES, YES)))
    head = raw[:3]
    body = b"".join(encode(item)[1:] for item in items)
    with pytest.raises(RemoteError):
        decode_sealed(head + bytes([0x90 + len(items)]) + body)


@pytest.mark.parametrize("count", [1, MAX_WAITING + 1])
def test_a_bundle_that_no_reader_takes_cannot_be_made(count):
    with pytest.raises(ValueError, match="messages"):
        Bundle(items=(YES,) * count)
