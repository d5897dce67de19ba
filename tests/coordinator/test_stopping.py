"""From what a teacher said of when a job had learned enough to a regression on its progress."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from coordinator.agent.stopping import NAMES, chances
from coordinator.cli import app
from coordinator.decisionsfile import write_decisions
from coordinator.selection.examples import Client, Decision
from coordinator.selection.weights import Weights
from coordinator.weightsfile import read_weights
from proto.errors import ConfigError
from tests.coordinator.test_distill import HEADER


def moment(fleet: int, number: int, gain: float | None, stop: float | None) -> Decision:
    box = Client(box="b", features={}, join=0.5)
    return Decision(
        fleet=f"fleet-{fleet}",
        round=number,
        cohort=1,
        clients=(box,),
        stop=stop,
        progress={"done": number / 20, "gain": gain},
    )


def moments() -> list[Decision]:
    """A teacher who stops where the loss no longer falls, whatever the round."""
    rng = np.random.default_rng(6)
    return [
        moment(fleet, number, gain := float(rng.normal(0.02, 0.02)), float(gain < 0.01))
        for fleet in range(12)
        for number in range(1, 20)
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    last = moment(0, 20, 0.0, None)  # of which nothing is known
    write_decisions(tmp_path / "long.jsonl", HEADER, [*moments(), last])
    return tmp_path / "long.jsonl"


def test_the_command_learns_when_to_stop(source, tmp_path):
    out = tmp_path / "mine.stop.json"
    found = CliRunner().invoke(app, ["distill", str(source), "-o", str(out), "--json"])
    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout)
    assert figures["student"] == "stop"
    assert figures["held_out"]["loss"] < 0.5 * figures["held_out"]["loss_of_a_constant"]
    weights = read_weights(out, NAMES)
    assert isinstance(weights, Weights)
    falls, stands = chances(weights, [moment(0, 9, 0.05, None), moment(0, 9, -0.01, None)])
    assert falls < 0.1
    assert stands > 0.9


def test_decisions_that_say_nothing_of_stopping_are_refused(tmp_path):
    write_decisions(tmp_path / "none.jsonl", HEADER, [moment(0, 1, 0.1, None)])
    call = ["distill", str(tmp_path / "none.jsonl"), "-o", str(tmp_path / "x.stop.json")]
    found = CliRunner().invoke(app, call)
    assert isinstance(found.exception, ConfigError)
    assert "whether it had learned enough" in str(found.exception)
    assert not (tmp_path / "x.stop.json").exists()
