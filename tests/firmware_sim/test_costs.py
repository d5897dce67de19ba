from pathlib import Path

import numpy as np
import pytest

from coordinator.taskmodel import Model, classifier_of
from firmware_sim import calibrate, calibrate_adapter
from firmware_sim.costs import adapter_s, circuit_mib, gradient_s, load, shape, shipped
from proto.errors import ConfigError

DEFAULT = classifier_of(Model(), 4, 2)


def test_the_shipped_figures_are_of_one_raspberry_pi_4_core() -> None:
    costs = shipped()
    assert costs.core == 4.0
    assert 0.0005 < gradient_s(costs, DEFAULT, 80) < 0.02
    assert 20 < circuit_mib(costs, DEFAULT, 80) < 100


def test_a_circuit_that_was_measured_costs_what_was_measured() -> None:
    costs = shipped()
    found = costs.circuits[shape(DEFAULT)]
    assert gradient_s(costs, DEFAULT, 100) == found.step_s + 100 * found.row_s


def test_any_other_circuit_costs_by_its_gates_and_amplitudes() -> None:
    odd = classifier_of(Model(reps=7), 5, 2)
    assert shape(odd) not in shipped().circuits
    few, many = gradient_s(shipped(), odd, 10), gradient_s(shipped(), odd, 1000)
    assert 0 < few < many


def test_circuits_of_one_shape_need_not_be_the_same() -> None:
    assert shape(classifier_of(Model(), 4, 2)) == shape(classifier_of(Model(), 4, 2))
    assert shape(DEFAULT) != shape(classifier_of(Model(ansatz="re-uploading"), 4, 2))


def test_an_adapter_pays_for_its_trunk_once_and_for_every_row_it_trains() -> None:
    costs = shipped()
    assert adapter_s(costs, 100, 800) - adapter_s(costs, 100, 0) == pytest.approx(
        800 * costs.adapter_row_s
    )
    assert adapter_s(costs, 100, 0) > 100 * costs.trunk_row_s


def test_a_calibration_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "costs.toml"
    path.write_text(calibrate.text(shipped()))
    assert load(path) == shipped()
    assert load(None) == shipped()


def test_a_broken_calibration_is_told_by_its_key(tmp_path: Path) -> None:
    path = tmp_path / "costs.toml"
    path.write_text(calibrate.text(shipped()).replace("core = 4.0", 'core = "four"'))
    with pytest.raises(ConfigError, match=r"costs.toml: core is 'four'; accepted: a number"):
        load(path)


def test_measuring_finds_that_more_rows_and_more_qubits_cost_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibrate, "MODELS", (Model(ansatz="re-uploading"),))
    monkeypatch.setattr(calibrate, "QUBITS", (2, 6))
    monkeypatch.setattr(calibrate, "LEAST_S", 0.005)
    told: list[str] = []
    found = calibrate.measure(4.0, told.append, adapter=False)
    small, large = list(found.circuits.values())
    assert small.step_s + 256 * small.row_s < large.step_s + 256 * large.row_s
    assert found.start_s > 0.1
    assert found.base_mib > 20
    assert "re-uploading, 6 qubits" in told
    assert found.adapter_row_s == shipped().adapter_row_s


def test_an_adapter_is_measured_where_it_can_be_trained_and_else_it_is_told_why() -> None:
    told: list[str] = []
    found = calibrate_adapter.measure(told.append)
    if found is None:
        assert told[0].startswith("no adapter: ")
        return
    assert 0 < found.row_s < found.trunk_row_s * 5
    assert 150 < found.mib < 600


def test_a_core_that_is_worth_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="core is 0; accepted: a number above 0"):
        calibrate.measure(0.0, lambda _what: None)


def test_the_least_of_a_few_tries_is_cpu_time() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 60))
    assert 0 < calibrate.cpu_s(lambda: X @ X) < 0.01
