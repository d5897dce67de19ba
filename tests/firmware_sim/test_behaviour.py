import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.behaviour import (
    PRESETS,
    Behaviour,
    Life,
    ambient_c,
    changes,
    drift,
    is_there,
    queue_s,
    supply,
)

NAMES = st.sampled_from(sorted(PRESETS))
SEEDS = st.integers(0, 2**63)
HOUR = 3600.0


def share(lives: list[Life], hour: float) -> float:
    return sum(is_there(life, hour * HOUR) for life in lives) / len(lives)


@given(NAMES, SEEDS, st.floats(0, 1e6))
def test_nothing_changes_before_it_is_said_to(name: str, seed: int, at: float) -> None:
    life = Life(PRESETS[name], seed)
    until = changes(life, at)
    assert until > at
    for part in (0.1, 0.5, 0.99):
        between = at + part * (min(until, at + 1e5) - at)
        assert is_there(life, between) == is_there(life, at)


@given(NAMES, SEEDS, st.floats(0, 0.99), st.floats(0, 1e6))
def test_supply_holds_as_long_as_it_is_said_to(
    name: str, seed: int, part: float, at: float
) -> None:
    life = Life(PRESETS[name], seed, clock_s=7 * HOUR)
    watts, until = supply(life, at)
    assert until > at
    assert watts >= 0
    if math.isfinite(until):
        assert supply(life, at + part * (until - at)) == (watts, until)


def test_offices_are_there_at_noon_and_phones_at_night() -> None:
    office = [Life(PRESETS["office"], seed) for seed in range(800)]
    phones = [Life(PRESETS["phone"], seed) for seed in range(800)]
    assert share(office, 13) > share(office, 1) + 0.5
    assert share(phones, 3) > share(phones, 15) + 0.5


def test_availability_is_the_mean_over_a_day() -> None:
    lives = [Life(PRESETS["worldwide"], seed) for seed in range(400)]
    assert sum(share(lives, hour) for hour in range(24)) / 24 == pytest.approx(0.5, abs=0.03)


def test_most_phones_charge_at_night_and_hardly_any_at_noon() -> None:
    phones = [Life(PRESETS["phone"], seed) for seed in range(500)]
    night = sum(supply(life, 27 * HOUR)[0] > 0 for life in phones) / 500
    noon = sum(supply(life, 36 * HOUR)[0] > 0 for life in phones) / 500
    assert night > 0.8
    assert noon < 0.02


def test_who_forgets_every_night_never_charges() -> None:
    assert supply(Life(Behaviour(charging="nightly", forgets=1.0), 1), 0.0) == (0.0, math.inf)


def test_the_sun_shines_by_day_alone() -> None:
    life = Life(PRESETS["solar"], 3)
    assert supply(life, 0.0)[0] == 0.0
    assert 1.0 < supply(life, 12 * HOUR)[0] <= 10.0


def test_afternoons_are_warmer_than_nights() -> None:
    life = Life(PRESETS["solar"], 1)
    assert ambient_c(life, 15 * HOUR) == pytest.approx(23.0)
    assert ambient_c(life, 3 * HOUR) == pytest.approx(7.0)


def test_data_drift_steadily_and_may_jump() -> None:
    steady = Life(Behaviour(drift_per_day=1.0), 1)
    jumps = Life(Behaviour(jump=2.0, jump_after_s=100.0), 1)
    assert drift(steady, 0.0) == 0.0
    assert drift(steady, 2 * 86400.0) == pytest.approx(2 * drift(steady, 86400.0))
    assert drift(jumps, 99.0) == 0.0
    assert 1.0 <= drift(jumps, 100.0) <= 3.0


def test_a_quantum_processor_has_a_queue_that_is_longer_by_day() -> None:
    waits = [queue_s(Life(Behaviour(queue_s=60.0), seed), 16 * HOUR) for seed in range(2000)]
    nights = [queue_s(Life(Behaviour(queue_s=60.0), seed), 4 * HOUR) for seed in range(2000)]
    assert sorted(waits)[1000] == pytest.approx(90.0, rel=0.1)
    assert sorted(nights)[1000] == pytest.approx(30.0, rel=0.1)
    assert queue_s(Life(Behaviour(), 1), 0.0) == 0.0
