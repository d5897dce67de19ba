"""Acks leave in the order of the messages, each once, whatever order they are made in."""

from itertools import permutations

import pytest

from proto.inbound import AckOrder


def owing(*numbers: int) -> AckOrder:
    order = AckOrder()
    for number in numbers:
        order.owe(number)
    return order


@pytest.mark.parametrize("acked", list(permutations((7, 3, 9))))
def test_acks_leave_in_the_order_in_which_messages_came(acked):
    order, left = owing(7, 3, 9), []
    for number in acked:
        left += order.settle(number)
    assert left == [7, 3, 9]


def test_what_is_not_owed_is_not_acked():
    order = owing(1)
    assert order.settle(2) == []
    assert order.settle(1) == [1]
    assert order.settle(1) == []


def test_a_number_that_comes_twice_holds_nothing_up():
    order = owing(1, 5, 5)
    assert [order.settle(number) for number in (5, 5, 1)] == [[], [], [1, 5]]
    order.owe(6)
    assert order.settle(6) == [6]
