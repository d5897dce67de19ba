"""Training waits while the board is too hot or its battery low, and loses nothing by it."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest

from coordinator.kinds import first_shared
from edge_client.adapter import bench as benches
from edge_client.adapter.bench import AdapterBench, Site
from edge_client.adapter.pace import LOOK_S, Pace
from edge_client.config import Adapter as Limits
from edge_client.texts import load
from edge_client.train import Hyper, Rows, local_update
from proto.messages import Resources
from tests.adapters.conftest import write_rows

LIMITS = Limits(max_temperature_c=80, min_battery=30)


def looks(limits: Limits, readings: list[Resources]) -> tuple[list[float], int]:
    """One wait on a board that reads so, and how many readings it took."""
    slept: list[float] = []
    left = iter(readings)
    Pace(limits, lambda: next(left), slept.append).wait()
    return slept, len(readings) - len(list(left))


@pytest.mark.parametrize(
    "now",
    [
        Resources(),
        Resources(temperature_c=80),
        Resources(battery=30),
        Resources(battery=1, charging=True),
        Resources(battery=100, temperature_c=20, charging=False),
    ],
)
def test_a_cool_charged_or_silent_board_works_at_once(now):
    assert looks(LIMITS, [now]) == ([], 1)


def test_a_hot_board_works_again_when_it_is_five_degrees_below_the_limit():
    heat = [81, 81, 79, 76, 75, 20]
    slept, used = looks(LIMITS, [Resources(temperature_c=value) for value in heat])
    assert slept == [LOOK_S] * 3
    assert used == 5


@pytest.mark.parametrize("charging", [None, False])
def test_a_low_battery_works_again_when_it_is_five_per_cent_fuller(charging):
    levels = [29, 29, 30, 34, 35]
    slept, used = looks(LIMITS, [Resources(battery=b, charging=charging) for b in levels])
    assert slept == [LOOK_S] * 3
    assert used == 5


def test_a_charger_ends_the_wait_but_not_while_the_board_is_hot_as_well():
    low, hot = Resources(battery=3), Resources(battery=3, charging=True, temperature_c=90)
    slept, _ = looks(LIMITS, [low, low, hot, Resources(battery=3, charging=True)])
    assert len(slept) == 2


def test_a_box_that_keeps_all_of_its_battery_works_on_a_full_one():
    slept, _ = looks(Limits(min_battery=100), [Resources(battery=b) for b in (99, 99, 100)])
    assert len(slept) == 1


class Oven:
    """A board that is too hot at every third look, and a clock that sleeping alone moves."""

    def __init__(self) -> None:
        self.readings: Iterator[int] = iter(np.tile([50, 50, 99, 99, 99, 60], 1000).tolist())
        self.slept = 0.0

    def read(self) -> Resources:
        return Resources(temperature_c=next(self.readings))

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_training_that_paused_gives_the_very_same_adapter(
    task, limits, tmp_path, monkeypatch, caplog
):
    frozen = first_shared(task, 0)
    table = load(write_rows(tmp_path / "rows.tsv", 1), None, "text", ())

    def trained():
        bench = AdapterBench(task.model, frozen, Site(limits, tmp_path, steps=12, batch=8))
        ids = bench.rows(table)
        arrays = bench.model.init(np.random.default_rng(0))
        rows = Rows(ids[:16], table.y[:16], ids[16:], table.y[16:])
        return local_update(bench.model, arrays, rows, Hyper(12, 0.03, 8, 0, "adamw")).arrays

    cool, oven = trained(), Oven()
    monkeypatch.setattr(benches.readings, "Board", lambda *_: oven)
    monkeypatch.setattr(benches.time, "sleep", oven.sleep)
    with caplog.at_level(logging.INFO, "edge_client"):
        baked = trained()
    assert oven.slept >= 3 * LOOK_S
    assert caplog.messages[:2] == [
        "training pauses: 99 degrees; 80 are allowed",
        "training goes on",
    ]
    for name, array in cool.items():
        assert np.array_equal(array, baked[name])
        assert array.any()
