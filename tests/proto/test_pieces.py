"""Large updates: cut by the box, put together by the coordinator, whatever comes when."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proto import pieces
from proto.codec import MAX_MESSAGE, MAX_WHOLE, encode
from proto.errors import RemoteError
from proto.messages import MAX_PACKED, MAX_PIECES, MAX_UPDATE
from proto.pieces import Piles, letters
from tests.proto.cases import METRICS, SHORT, SMALL_UPDATE


def large(size: int, id_: bytes = SHORT):
    payload = random.Random(size).randbytes(size)
    return replace(SMALL_UPDATE, id=id_, turn=7, metrics=METRICS, payload=payload)


def test_an_update_that_fits_one_publish_stays_whole():
    assert letters(SMALL_UPDATE) == (SMALL_UPDATE,)
    assert len(letters(large(MAX_UPDATE))) == 1
    assert len(letters(large(MAX_UPDATE + 1))) == 2


@given(st.integers(MAX_UPDATE + 1, 5 * MAX_UPDATE), st.randoms(use_true_random=False))
def test_pieces_in_any_order_and_twice_give_the_update(size, order):
    update, piles = large(size), Piles()
    parts = list(letters(update)) * 2
    order.shuffle(parts)
    got = [piles.add("pi-1", part) for part in parts]
    assert next(each for each in got if each is not None) == update


def test_the_largest_update_has_pieces_that_fit_a_message():
    parts = letters(large(MAX_PACKED))
    assert len(parts) <= MAX_PIECES
    assert max(len(encode(part)) for part in parts) < MAX_MESSAGE


def test_boxes_do_not_mix():
    piles, update = Piles(), large(MAX_UPDATE + 1)
    first, last = letters(update)
    assert piles.add("pi-1", first) is None
    assert piles.add("pi-2", last) is None
    assert piles.add("pi-1", last) == update


def test_a_newer_update_of_a_box_takes_the_place_of_an_unfinished_one():
    piles, old, new = Piles(), large(MAX_UPDATE + 1), large(MAX_UPDATE + 2, b"n" * 16)
    assert piles.add("pi-1", letters(old)[0]) is None
    assert piles.add("pi-1", letters(new)[0]) is None
    assert piles.add("pi-1", letters(old)[1]) is None
    assert piles.add("pi-1", letters(new)[1]) is None
    assert piles.add("pi-1", letters(new)[0]) == new


def test_when_memory_is_short_the_longest_waiting_makes_room(monkeypatch):
    monkeypatch.setattr(pieces, "MAX_HELD", 2 * MAX_UPDATE)
    piles, update = Piles(), large(MAX_UPDATE + 1)
    first, last = letters(update)
    for box in ("pi-1", "pi-2", "pi-3"):
        assert piles.add(box, first) is None
    assert piles.add("pi-1", last) is None
    assert piles.add("pi-3", last) == update


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"index": 5, "count": 3}, "piece 5 of 3"),
        ({"turn": 8}, "pieces of another update"),
        ({"data": b"\x01\x16"}, "not a message"),
    ],
)
def test_pieces_that_make_no_update_are_refused(change, said):
    piles = Piles()
    first, last = letters(large(MAX_UPDATE + 1))
    piles.add("pi-1", first)
    with pytest.raises(RemoteError, match=said):
        piles.add("pi-1", replace(last, **change))


def test_more_bytes_than_any_update_has_are_refused():
    piles, piece = Piles(), letters(large(MAX_UPDATE + 1))[0]
    room = MAX_WHOLE // MAX_UPDATE
    for index in range(room):
        piles.add("pi-1", replace(piece, index=index, count=MAX_PIECES))
    with pytest.raises(RemoteError, match="more than"):
        piles.add("pi-1", replace(piece, index=room, count=MAX_PIECES))
