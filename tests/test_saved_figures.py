"""Long benchmarks print saved figures while code and data are the same, and only then."""

import importlib
import json
import sys
from functools import partial
from pathlib import Path

import pytest

from edge_client.dataset import load
from firmware_sim.codekey import code_key

BENCHMARKS = str(Path(__file__).parent.parent / "benchmarks")


@pytest.fixture
def modules(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    names = ("saved", "learning_fleet", "learning_runs", "learning")
    found = [importlib.import_module(name) for name in names]
    monkeypatch.setattr(found[0], "RESULTS", tmp_path)
    yield found
    for name in names:
        sys.modules.pop(name, None)


def counted(figures: list[float]):
    asked: list[int] = []

    def run(seed: int) -> dict[str, float]:
        asked.append(seed)
        return {"accuracy": figures[seed]}

    return asked, run


def test_what_is_saved_is_not_run_again_and_what_is_missing_is(modules):
    asked, run = counted([0.9, 0.8, 0.7])
    assert modules[0].kept("name", "code", "data", 2, run) == [{"accuracy": 0.9}, {"accuracy": 0.8}]
    assert asked == [0, 1]
    modules[0].kept("name", "code", "data", 3, run)
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(
    ("stamp", "figures", "again"),
    [
        (("new code", "data"), [0.9, 0.8], [0]),  # its first seed says that nothing has changed
        (("new code", "data"), [0.91, 0.8], [0, 0, 1]),
        (("code", "new data"), [0.9, 0.8], [0, 1]),
    ],
)
def test_new_code_or_data_are_measured(modules, stamp, figures, again):
    modules[0].kept("name", "code", "data", 2, counted([0.9, 0.8])[1])
    asked, run = counted(figures)
    found = modules[0].kept("name", *stamp, 2, run)
    assert [one["accuracy"] for one in found] == figures
    assert asked == again
    assert modules[0].kept("name", *stamp, 2, counted([0, 0])[1]) == found


@pytest.mark.parametrize(("count", "again"), [(1005, [0]), (1020, [0, 0])])
def test_a_few_bytes_more_in_messages_leave_saved_figures_as_they_are(modules, count, again):
    asked: list[int] = []

    def run(bytes_: int, seed: int) -> dict[str, object]:
        asked.append(seed)
        return {"fleet": {"bytes": bytes_, "rounds": 7}}

    modules[0].kept("name", "code", "data", 1, partial(run, 1000))
    asked.clear()
    modules[0].kept("name", "new code", "data", 1, partial(run, count))
    assert asked == again


def test_a_task_is_trained_every_way_and_summed_up(modules):
    _, _, runs, learning = modules
    ways = runs.Way(rounds=2, steps=2), runs.Way(rounds=1, steps=4, aggregation="mean")
    setting = runs.Setting("sklearn:iris", 2, 3, *ways)
    found = [learning.run(setting, load("sklearn:iris"), seed) for seed in (0, 1)]
    assert all(sum(one["sizes"]) == 112 for one in found)
    told = json.loads(json.dumps(learning.report({"iris": found})))
    for figure in ("federated", "pooled", "local", "logreg"):
        of = told[figure]["iris"]
        assert 0 <= of["mean"] <= 1
        assert of["low"] <= of["mean"] <= of["high"]
    for pooled in learning.POOLED:
        gap = [one[pooled]["test"] - one["federated"]["test"] for one in found]
        summed = told[f"{pooled}_minus_federated"]["iris"]["mean"]
        assert summed == pytest.approx(sum(gap) / 2, abs=1e-4)
    served = {"federated", *learning.POOLED, "local", "personal_heads"}
    assert set(told["worst_decile"]["iris"]) == served


def test_code_and_tables_have_a_key_that_comments_and_layout_leave_as_it_is(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.toml").write_text("[pi]\nwatts = 3\n")
    key = partial(code_key, tmp_path, ("*.py", "*.toml"))
    before = key()
    (tmp_path / "a.py").write_text('"""Said."""\n\nx = 1  # why\n')
    (tmp_path / "b.toml").write_text("# why\n[pi]\nwatts=3")
    assert key() == before
    (tmp_path / "b.toml").write_text("[pi]\nwatts = 4\n")
    assert key() != before
