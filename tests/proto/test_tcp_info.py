"""What the kernel tells of a connection."""

import socket
import sys
from contextlib import closing

import pytest

from proto.tcp_info import Link, link_of

PART = bytes(2**18)


def test_nothing_is_known_of_no_connection_or_a_closed_one():
    assert link_of(None) == Link()
    with closing(socket.socket()) as made:
        made.close()
        assert link_of(made) == Link()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's figures are Linux's")
def test_a_connection_that_has_carried_something_shows_how_fast_and_what_was_lost():
    server = socket.create_server(("127.0.0.1", 0))
    one = socket.create_connection(server.getsockname())
    other, _ = server.accept()
    with closing(server), closing(one), closing(other):
        assert link_of(one).loss_percent is None
        for _ in range(4):
            one.sendall(PART)
            left = len(PART)
            while left:
                left -= len(other.recv(left))
        link = link_of(one)
    assert link.kbps is not None
    assert link.kbps > 1000
    assert link.loss_percent in (0, None)
