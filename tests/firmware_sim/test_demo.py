"""The main job, as a person starts it: real processes, a real broker."""

import json
import os
import statistics
import subprocess
import sys

import pytest
from PIL import Image

from firmware_sim.demo import Settings, model_missing, run
from firmware_sim.plot import draw

pytestmark = pytest.mark.processes
PROMISED = {
    *("clients", "rounds", "seed", "accuracy", "pooled_accuracy", "worst_decile", "broker"),
    *("sizes", "test_rows", "updates", "bytes_up", "bytes_down", "bytes_per_update"),
    *("cpu_s", "seconds", "history", "policy", "decisions"),
}


def test_the_command_prints_one_object_with_figures_that_fit_together(tmp_path):
    words = ["demo", "--json", "--clients", "3", "--rounds", "3", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(
        [sys.executable, "-m", "firmware_sim", *words], capture_output=True, check=True, timeout=120
    )
    result = json.loads(done.stdout)
    assert set(result) == PROMISED
    assert (result["policy"], result["decisions"]) == ("stalest", [])
    assert (result["clients"], result["rounds"], result["updates"]) == (3, 3, 9)
    assert min(result["sizes"]) >= 20
    assert sum(result["sizes"]) + result["test_rows"] == 569
    assert result["bytes_per_update"] == pytest.approx(result["bytes_up"] / 9, abs=0.1)
    assert result["bytes_per_update"] <= 400
    later = result["history"][1:]  # the first round also carries the feature map
    assert all((row["bytes_up"] + row["bytes_down"]) / 3 <= 900 for row in later)
    assert [row["round"] for row in result["history"]] == [1, 2, 3]
    assert sum(row["bytes_up"] for row in result["history"]) == result["bytes_up"]
    assert sum(row["bytes_down"] for row in result["history"]) == result["bytes_down"]
    assert result["accuracy"] == result["history"][-1]["accuracy"]
    assert 0.0 < result["worst_decile"] <= result["accuracy"] <= 1.0  # the least, and the mean
    assert 0.9 < result["pooled_accuracy"] <= 1.0
    assert result["broker"] in ("mosquitto", "iotcore")
    assert 0 < result["cpu_s"] <= 120
    draw(result, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size[0] > 800


def test_the_shipped_agent_plans_the_rounds_of_real_processes_and_says_why(tmp_path):
    if missing := model_missing():
        pytest.skip(missing)
    words = ["demo", "--policy", "agent", "--clients", "4", "--rounds", "3", "--out", str(tmp_path)]
    told = os.environ | {"COLUMNS": "200"}
    run_ = [sys.executable, "-m", "firmware_sim", *words]
    done = subprocess.run(run_, capture_output=True, check=True, timeout=300, text=True, env=told)
    assert "No agent" not in done.stderr
    assert "the hand rule chose" not in done.stdout
    _, _, table = done.stdout.partition("Decisions")
    assert table.count("agent: box-") == 3
    assert table.count("the aim as read: ") == 3
    assert "3 rounds were planned" in table


def test_where_the_agents_model_is_missing_the_demo_goes_on_by_the_hand_rule(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("QFLEET_CACHE", str(tmp_path))
    result = run(Settings(clients=4, rounds=2, policy="agent"))
    told = [d for d in result["decisions"] if d["kind"] == "train"]
    assert [(d["policy"], len(d["cohort"])) for d in told] == [("agent", 3)] * 2
    assert all("run: quantize pull smollm2-135m" in d["fallback"] for d in told)
    assert result["updates"] == 6


def test_eight_boxes_learn_nearly_as_well_as_all_rows_in_one_place():
    results = [run(Settings(clients=8, rounds=15, seed=seed)) for seed in range(5)]
    accuracy = statistics.median(result["accuracy"] for result in results)
    pooled = statistics.median(result["pooled_accuracy"] for result in results)
    assert accuracy >= 0.92
    assert accuracy >= pooled - 0.03
    assert all(result["cpu_s"] <= 120 for result in results)
