import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from firmware_sim import boards
from firmware_sim.boards import Board, Load, lasts, new_board, profiles, seconds_for, spend, step
from proto.errors import ConfigError

NAMES = st.sampled_from(sorted(profiles()))
LOADS = st.builds(
    Load,
    cpu=st.sampled_from([0.0, 0.25, 1.0]),
    supply_w=st.sampled_from([0.0, 4.0, math.inf]),
    ambient_c=st.floats(-10, 40),
    cap=st.sampled_from([0.4, 1.0]),
    heat=st.sampled_from([1.0, 2.2]),
)


def alike(a: Board, b: Board) -> None:
    for field in ("temperature_c", "charge_j", "used_j", "worked_s", "written_mib"):
        assert getattr(a, field) == pytest.approx(getattr(b, field), rel=1e-6, abs=1e-5), field
    assert (a.off, a.deaths) == (b.off, b.deaths)


def ticked(board: Board, load: Load, seconds: int, dt: float = 0.05) -> Board:
    """The same physics by small steps of Euler, for a board that stays on."""
    profile, r = board.profile, board.profile.heat_r * load.heat
    temperature, used, worked = board.temperature_c, 0.0, 0.0
    for _ in range(round(seconds / dt)):
        share = load.cap
        full = load.ambient_c + r * (profile.idle_w + profile.busy_w * load.cpu * share)
        if temperature >= profile.throttle_c and full > profile.throttle_c and load.cpu:
            held = ((profile.throttle_c - load.ambient_c) / r - profile.idle_w) / profile.busy_w
            share = min(share, max(profile.floor, held / load.cpu))
        watts = profile.idle_w + profile.busy_w * load.cpu * share
        settles = load.ambient_c + r * watts
        temperature += dt * (settles - temperature) / (profile.heat_s * load.heat)
        used += dt * watts
        worked += dt * share * load.cpu * profile.cores * profile.speed
    return Board(profile, temperature, board.charge_j, used, worked)


def test_the_profiles_are_those_of_the_design() -> None:
    assert set(profiles()) == {
        "pi-zero-2w",
        "pi-3b-plus",
        "pi-4",
        "pi-5",
        "phone-low",
        "phone-mid",
        "phone-high",
        "x86-gateway",
    }


@pytest.mark.parametrize("name", sorted(profiles()))
def test_every_number_of_a_profile_has_a_source(name: str) -> None:
    numbers = set(structs.asdict(profiles()[name])) - {"label", "sources"}
    sources = profiles()[name].sources
    assert set(sources) == numbers
    assert all(len(text) > 3 for text in sources.values())


@pytest.mark.parametrize("name", ["pi-4", "pi-5", "pi-3b-plus"])
@pytest.mark.parametrize("heat", [1.0, 2.2])
def test_one_long_step_is_what_many_small_ones_come_to(name: str, heat: float) -> None:
    board, load = new_board(name), Load(cpu=1.0, heat=heat)
    leap, walk = step(board, load, 900.0), ticked(board, load, 900)
    assert leap.temperature_c == pytest.approx(walk.temperature_c, abs=0.3)
    assert leap.worked_s == pytest.approx(walk.worked_s, rel=0.01)
    assert leap.used_j == pytest.approx(walk.used_j, rel=0.01)


@given(NAMES, LOADS, st.floats(0.0, 1.0), st.floats(0.0, 1e5), st.floats(0.0, 1e5))
def test_two_steps_are_one(name: str, load: Load, charge: float, a: float, b: float) -> None:
    board = new_board(name, charge)
    alike(step(step(board, load, a), load, b), step(board, load, a + b))


@given(NAMES, LOADS, st.floats(0.0, 1.0), st.floats(0.0, 1e6))
def test_no_step_leaves_what_physics_allows(
    name: str, load: Load, charge: float, dt: float
) -> None:
    board = step(new_board(name, charge), load, dt)
    profile = board.profile
    assert 0 <= board.charge_j <= 3600 * profile.battery_wh + 1e-6
    assert 0 <= board.worked_s <= dt * profile.cores * profile.speed * load.cap + 1e-6
    assert board.used_j <= dt * (profile.idle_w + profile.busy_w) + 1e-6
    assert load.ambient_c - 50 <= board.temperature_c <= 150
    if profile.battery_wh and board.off:
        assert board.charge_j <= boards.BOOT_SHARE * 3600 * profile.battery_wh + 1e-6


@given(NAMES, LOADS, st.floats(0.1, 1.0), st.floats(1.0, 1e4))
def test_work_is_done_when_it_is_said_to_be(
    name: str, load: Load, charge: float, work: float
) -> None:
    board = new_board(name, charge)
    seconds = seconds_for(board, load, work)
    if math.isfinite(seconds):
        done = step(board, load, seconds)
        assert done.worked_s == pytest.approx(work, rel=1e-6)
    elif load.cpu and not profiles()[name].battery_wh:
        assert load.supply_w < profiles()[name].idle_w


def test_a_pi_5_without_a_cooler_throttles_and_a_pi_4_on_one_core_does_not() -> None:
    warm, cold = Load(cpu=1.0), Load(cpu=0.25)
    five = step(new_board("pi-5"), warm, 1800)
    four = step(new_board("pi-4"), cold, 1800)
    assert five.temperature_c >= 80
    assert five.worked_s < 0.7 * 1800 * 4 * five.profile.speed
    assert four.temperature_c < 60
    assert four.worked_s == pytest.approx(1800)


def test_a_blocked_fan_costs_work_and_so_does_under_voltage() -> None:
    board = new_board("pi-4")
    free, blocked, sagging = (
        step(board, load, 3600).worked_s
        for load in (Load(cpu=1.0), Load(cpu=1.0, heat=2.2), Load(cpu=1.0, cap=0.4))
    )
    assert max(sagging, blocked) < 0.5 * free


def test_a_phone_runs_empty_and_comes_back_with_the_charger() -> None:
    phone = new_board("phone-mid", 0.5)
    busy = Load(cpu=1.0, supply_w=0.0)
    left = lasts(phone, busy)
    assert step(phone, busy, left - 1).off is False
    dead = step(phone, busy, left + 600)
    assert (dead.off, dead.deaths, dead.battery) == (True, 1, 0)
    assert step(dead, Load(cpu=1.0, supply_w=0.0), 3600).worked_s == dead.worked_s
    charged = step(dead, Load(), 3600)
    assert charged.off is False
    assert charged.battery is not None
    assert charged.battery > 10


def test_a_board_without_a_battery_is_off_without_a_supply() -> None:
    dark = step(new_board("pi-4"), Load(supply_w=0.0), 60)
    assert (dark.off, dark.used_j, dark.battery) == (True, 0.0, None)
    assert step(dark, Load(), 60).off is False


def test_a_full_battery_takes_no_more() -> None:
    full = step(new_board("phone-low", 0.9), Load(), 1e5)
    assert full.battery == 100


def test_a_sudden_expense_can_end_a_battery_and_not_a_mains_supply() -> None:
    phone, pi = new_board("phone-low", 0.01), new_board("pi-4")
    assert spend(phone, 1e4).off is True
    assert spend(pi, 1e4).off is False
    assert spend(pi, 1e4).used_j == 1e4


def test_writing_wears_the_flash_and_a_dying_card_faster() -> None:
    pi = new_board("pi-4")
    fine = step(pi, Load(write_mib_s=1.0), 86400)
    dying = step(pi, Load(write_mib_s=1.0, wear=10.0), 86400)
    assert fine.worn == pytest.approx(86400 / (32 * 1024 * 1000))
    assert dying.worn == pytest.approx(10 * fine.worn)


def test_a_board_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no board 'pi-6'; there are: .*pi-5"):
        new_board("pi-6")
