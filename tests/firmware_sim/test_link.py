import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.link import Link
from firmware_sim.links import DOWN, UP, Line, LinkKind

PROBABILITY = st.floats(0.0, 0.9)


def test_a_plain_link_only_delays() -> None:
    link = Link(seed=1, delay_s=0.2)
    assert link.arrivals("box", UP, 100, now=5.0) == [5.2]


def test_a_loss_is_a_late_arrival_and_holds_up_what_follows() -> None:
    link = Link(seed=3, loss=0.5, retransmit_s=2.0)
    arrivals = [link.arrivals("box", UP, 1, now=float(n))[0] for n in range(50)]
    delays = {round(when - sent, 6) for sent, when in enumerate(arrivals)}
    assert arrivals == sorted(arrivals)
    assert max(delays) >= 2.0
    assert min(delays) == 0.0


def test_each_client_and_direction_is_a_way_of_its_own() -> None:
    link = Link(seed=0, delay_s=1.0)
    link.arrivals("a", UP, 1, now=100.0)
    assert link.arrivals("a", DOWN, 1, now=0.0) == [1.0]
    assert link.arrivals("b", UP, 1, now=0.0) == [1.0]


def test_messages_may_overtake_each_other_where_asked_for() -> None:
    link = Link(seed=2, reorder=0.5)
    arrivals = [link.arrivals("box", UP, 1, now=float(n) / 10)[0] for n in range(50)]
    assert arrivals != sorted(arrivals)


def test_what_is_under_way_shares_a_line() -> None:
    kind = LinkKind(label="modem", up_mbps=0.008, down_mbps=0.08, delay_s=0.5)
    link = Link(seed=0, lines={"box": Line(kind, seed=1)})
    assert link.arrivals("box", UP, 500, now=1.0) == [2.0]
    assert link.arrivals("box", UP, 1000, now=1.1) == [3.0]
    assert link.arrivals("box", DOWN, 1000, now=1.1) == [pytest.approx(1.7)]
    assert link.arrivals("other", UP, 500, now=1.0) == [1.0]


def test_who_sits_beside_the_broker_has_no_faults() -> None:
    link = Link(seed=0, delay_s=1.0, loss=0.9, duplicate=0.9, reorder=0.9, wired=frozenset({"c"}))
    assert [link.arrivals("c", UP, 1, now=2.0) for _ in range(20)] == [[2.0]] * 20


def test_a_cut_is_seen_by_watchers_and_ends_with_mending() -> None:
    link, seen = Link(seed=0), []
    link.watch(seen.append)
    link.cut("box")
    assert (seen, link.is_cut("box"), link.is_cut("other")) == (["box"], True, False)
    link.mend("box")
    assert not link.is_cut("box")


@given(st.integers(), PROBABILITY, PROBABILITY, PROBABILITY)
def test_a_message_always_arrives_and_never_early(
    seed: int, loss: float, duplicate: float, reorder: float
) -> None:
    link = Link(seed, delay_s=0.1, loss=loss, duplicate=duplicate, reorder=reorder)
    for _ in range(20):
        arrivals = link.arrivals("box", UP, 10, now=1.0)
        assert arrivals
        assert min(arrivals) >= 1.1


@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_faults(seed: int) -> None:
    def trace() -> list[list[float]]:
        link = Link(seed, loss=0.3, duplicate=0.3, reorder=0.3)
        return [link.arrivals("box", UP, 1, now=float(n)) for n in range(20)]

    assert trace() == trace()


def test_duplicates_come_in_the_asked_for_share() -> None:
    link = Link(seed=5, duplicate=0.25)
    copies = sum(len(link.arrivals("box", UP, 1, now=0.0)) for _ in range(4000))
    assert copies == pytest.approx(4000 / 0.75, rel=0.05)
