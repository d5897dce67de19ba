"""The table of policies: its sums, and that it does not hang on how many processes make it."""

import importlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.firmware_sim.small import SMALL

ROOT = Path(__file__).parent.parent


@pytest.fixture
def sums(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("agent_sums")
    for name in ("agent_sums", "saved"):
        sys.modules.pop(name, None)


def row(seconds: float, energy: float, **more: float) -> dict[str, object]:
    told = {"paid_bytes": 1000, "jain": 0.5, "objective": "learn fast and waste no energy"}
    return {"seconds": seconds, "energy_j": energy, **told, **more}


def test_two_policies_are_compared_fleet_by_fleet(sums):
    """Fleets differ tenfold, the two policies on each by the same half: no doubt is left."""
    rivals = [row(1000.0 * n, 5000.0 * n) for n in range(1, 11)]
    ours = [row(500.0 * n, 4000.0 * n) for n in range(1, 11)]
    found = sums.duel(ours, rivals)
    assert found["seconds"] == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert found["energy_j"] == {"mean": 0.8, "low": 0.8, "high": 0.8}
    assert 0.5 < found["priced"]["mean"] < 0.8
    assert sums.duel(rivals, ours)["seconds"]["mean"] == 2.0


def test_a_duel_that_is_won_on_half_of_the_fleets_is_open(sums):
    rivals = [row(1000.0, 5000.0)] * 10
    ours = [row(1000.0 * (2 if n % 2 else 0.5), 5000.0) for n in range(10)]
    found = sums.duel(ours, rivals)["seconds"]
    assert found["mean"] == 1.0
    assert found["low"] < 1 < found["high"]


def test_what_the_agents_answers_took_counts_in_a_duel(sums):
    rivals, ours = [row(100.0, 500.0)], [row(100.0, 500.0, advice_s=10.0)]
    found = sums.duel(ours, rivals)
    assert found["seconds"]["mean"] == pytest.approx(1 + 10.0 * sums.CORE / 100, abs=1e-3)
    assert found["energy_j"]["mean"] > 1


def test_fleets_that_only_one_of_two_ran_do_not_count_and_the_others_are_told(sums):
    found = sums.duel([row(1.0, 1.0)], [row(2.0, 1.0), row(9.0, 9.0)])
    assert (found["seconds"]["mean"], found["fleets"]) == (0.5, 1)


def test_the_agent_chooses_in_fedbuffs_rounds_too(sums):
    runs = importlib.import_module("agent_runs")
    try:
        scenario = runs.read(ROOT / "benchmarks" / "suites" / "journals.toml")
        lots = runs.under(scenario, runs.Policy("fedbuff")).work.rounds
        found = runs.under(scenario, runs.Policy(runs.BUFFERED)).work.rounds
        assert (lots.kind, lots.policy) == ("async", "random")
        assert found == replace(lots, policy="agent")
    finally:
        for name in ("agent_runs", "agent_variants"):
            sys.modules.pop(name, None)


def test_an_agents_figures_are_of_its_code_and_of_all_files_that_decide_with_it(
    sums, tmp_path, monkeypatch
):
    runs, code = importlib.import_module("agent_runs"), tmp_path / "coordinator" / "agent"
    monkeypatch.setattr(importlib.import_module("saved"), "ROOT", tmp_path)
    code.mkdir(parents=True)
    own, rule = runs.Policy("agent-own", tmp_path / "own.gguf"), runs.Policy("stalest")

    def known(text: str) -> tuple[str, str]:
        (code / "asking.py").write_text(text)
        return runs.code_of(own), runs.code_of(rule)

    try:
        first = known("x = 1")
        assert known('"""What it does."""\nx = 1  # so many') == first
        assert known("x = 2") == (runs.code_of(own), first[1])
        assert runs.code_of(own) != first[0]
        own.file.write_bytes(b"adapter")
        before = runs.data_of(runs.CELLS[0], own)
        own.file.with_suffix(".stop.json").write_text("{}")
        assert runs.data_of(runs.CELLS[0], own) != before
    finally:
        for name in ("agent_runs", "agent_variants"):
            sys.modules.pop(name, None)


@pytest.fixture
def table(tmp_path):
    """Prints the table of fleets so small that they are run, not looked up."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    shutil.rmtree(tmp_path / "benchmarks" / "results")
    (tmp_path / "firmware_sim").mkdir()
    shutil.copy(ROOT / "firmware_sim" / "journal.toml", tmp_path / "firmware_sim")
    (tmp_path / "benchmarks" / "suites" / "numbers.toml").write_text(SMALL)

    def run(*words: str) -> dict[str, dict[str, object]]:
        if "--saved" not in words:
            shutil.rmtree(tmp_path / "benchmarks" / "results", ignore_errors=True)
        asked = (sys.executable, "benchmarks/agent.py", "--cells", "numbers", "--fleets", "2")
        told = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*asked, "--json", *words], cwd=tmp_path, env=told, capture_output=True, check=True
        )
        return json.loads(done.stdout)["numbers"]

    return run


def test_several_processes_print_what_one_does(table):
    policies = ("--policies", "random,linear,fedbuff")
    found = table(*policies)
    assert list(found) == ["random", "linear", "fedbuff"]
    assert found["linear"]["fleets"] == 2
    assert math.isfinite(found["linear"]["ratio"]["seconds"]["mean"])
    assert table(*policies, "--processes", "3") == found


def test_what_is_saved_is_printed_without_a_run_and_what_is_not_is_left_out(table, tmp_path):
    found = table("--policies", "random")
    assert table("--policies", "random,oort", "--saved") == found
    suite = tmp_path / "benchmarks" / "suites" / "numbers.toml"
    suite.write_text(SMALL.replace("count = 2", "count = 3"))
    assert table("--policies", "random", "--saved") == "nothing of it is saved"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--policies oort,ghost", "no policy 'ghost'; accepted: stalest"),
        ("--policies gbm=nowhere.json", "gbm has no file nowhere.json"),
        ("--cells journals-11", "no such cell; there are numbers"),
        ("--fleets 0", "whole numbers from 1"),
    ],
)
def test_what_cannot_be_asked_for_is_told_before_anything_runs(words, told):
    asked = (sys.executable, "benchmarks/agent.py", *words.split())
    told_env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        asked, cwd=ROOT, env=told_env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert told in done.stderr
