from math import inf

import pytest

from coordinator.post import Post
from coordinator.presence import Presence
from coordinator.store import Store
from proto.bundling import MAX_WAITING
from proto.errors import LocalError
from proto.identity import Identity
from proto.messages import Ack, Sealed
from proto.topics import Topics

ACK = Ack(items=())


class Keys(Presence):
    """A presence whose frames name their box."""

    used_up = ""

    def seal(self, box: str, _message: Sealed) -> bytes | None:
        if box == self.used_up:
            raise LocalError("this epoch is used up")
        return box.encode()


class Shelf:
    """A port that keeps what is published."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def publish(self, _topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert not retain
        self.sent.append(payload)


@pytest.fixture
def keys(tmp_path) -> Keys:
    return Keys(Store(tmp_path / "store.db"), "fleet", Identity.generate())


@pytest.fixture
def post(keys) -> Post:
    return Post(keys, Topics("fleet"))


def test_what_waits_leaves_when_it_is_due_in_the_order_boxes_began_to_wait(post):
    port = Shelf()
    for box, wait in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        post.to_box(box, ACK, 0, wait)
    post.flush(port, 0.0)
    assert (port.sent, post.due) == ([], 1.0)
    post.to_box("a", ACK, 0, 1.5)
    post.flush(port, 0.0)
    post.flush(port, 2.0)
    assert (port.sent, post.due) == ([b"a", b"b", b"c"], inf)


def test_at_a_stop_all_leaves_even_what_came_last(post):
    port = Shelf()
    post.to_box("a", ACK, 0, 5.0)
    post.flush(port, 0.0)
    post.to_box("b", ACK, 0, 5.0)
    post.flush(port, inf)
    assert port.sent == [b"a", b"b"]


def test_more_than_a_frame_holds_leaves_in_several(post):
    port = Shelf()
    for _ in range(2 * MAX_WAITING + 1):
        post.to_box("a", ACK)
    post.flush(port, 0.0)
    assert (port.sent, post.due) == ([b"a"] * 3, inf)


def test_one_box_without_keys_to_spare_keeps_no_others_letters_back(post, keys):
    port = Shelf()
    keys.used_up = "a"
    for box in ("a", "b"):
        post.to_box(box, ACK)
    with pytest.raises(LocalError):
        post.flush(port, 0.0)
    post.flush(port, 0.0)
    assert port.sent == [b"b"]
