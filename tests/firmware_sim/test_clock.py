from math import inf

from edge_client.requests import Result
from firmware_sim.clock import Clock
from firmware_sim.fleet import Actor
from proto.transport import Connected, Disconnected, Incoming


def test_events_run_in_order_of_time_then_of_insertion() -> None:
    clock, seen = Clock(), []
    for when, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b")):
        clock.at(when, lambda name=name: seen.append((clock.now, name)))
    clock.run()
    assert seen == [(1.0, "a"), (1.0, "b"), (2.0, "c"), (2.0, "d")]


def test_an_event_may_add_events() -> None:
    clock, seen = Clock(), []

    def tick() -> None:
        seen.append(clock.now)
        if len(seen) < 4:
            clock.after(0.5, tick)

    clock.after(1.0, tick)
    clock.run()
    assert seen == [1.0, 1.5, 2.0, 2.5]


def test_run_until_includes_that_moment_and_leaves_the_rest() -> None:
    clock, seen = Clock(), []
    for when in (1.0, 2.0, 3.0):
        clock.at(when, lambda when=when: seen.append(when))
    clock.run(until=2.0)
    assert (seen, clock.now, clock.idle()) == ([1.0, 2.0], 2.0, False)
    clock.run(until=10.0)
    assert (seen, clock.now, clock.idle()) == ([1.0, 2.0, 3.0], 10.0, True)


def test_time_never_runs_backwards() -> None:
    clock, seen = Clock(now=5.0), []
    clock.at(1.0, lambda: seen.append(clock.now))
    clock.run(until=4.0)
    assert (seen, clock.now) == ([], 5.0)
    clock.run()
    assert (seen, clock.now) == ([5.0], 5.0)


def test_a_step_runs_one_event() -> None:
    clock, seen = Clock(), []
    clock.after(1.0, lambda: seen.append(1))
    clock.after(2.0, lambda: seen.append(2))
    assert clock.step()
    assert seen == [1]
    assert clock.step()
    assert not clock.step()


def test_what_is_added_for_the_present_comes_after_what_was_due_then() -> None:
    clock, seen = Clock(), []

    def first() -> None:
        clock.at(1.0, lambda: seen.append("added"))
        clock.after(0.0, lambda: seen.append("added later"))
        seen.append("first")

    clock.at(1.0, first)
    clock.at(1.0, lambda: seen.append("second"))
    clock.at(1.5, lambda: seen.append("third"))
    clock.run()
    assert seen == ["first", "second", "added", "added later", "third"]


def test_an_actor_has_no_turn_by_a_timer_that_nobody_waits_for_any_more() -> None:
    clock, turns = Clock(), []
    due = iter([1.0, 5.0, inf])

    def take(batch: list[Incoming | Result]) -> float:
        turns.append((clock.now, batch))
        return next(due)

    actor, first, second = Actor(clock, take), Connected(), Disconnected("cut")
    actor.put(first)
    clock.at(0.5, lambda: actor.put(second))
    clock.run()
    assert turns == [(0.0, [first]), (0.5, [second]), (5.0, [])]
