"""The fleets policies are compared on are those fixed before students were trained."""

import hashlib
from pathlib import Path

from coordinator.weightsfile import read_weights
from firmware_sim.scenario import read

SUITES = Path(__file__).parent.parent / "benchmarks" / "suites"


def test_no_suite_has_changed_since_its_hash_was_written_down():
    lines = (SUITES / "HASHES").read_text(encoding="utf-8").splitlines()
    written = dict(reversed(line.split()) for line in lines)
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in SUITES.glob("*.toml")}
    assert written == found


def test_every_suite_is_a_scenario_and_those_to_learn_on_hold_no_wording_of_the_tests():
    scenarios = {path.stem: read(path) for path in SUITES.glob("*.toml")}
    assert all(s.wordings != "held-out" for n, s in scenarios.items() if n.startswith("train-"))
    assert scenarios["journals"].wordings == "held-out"
    assert len({s.name for s in scenarios.values()}) == len(scenarios)


def test_the_students_that_lie_beside_the_suites_are_of_this_release():
    for name in ("linear", "gbm", "gbm-words"):
        assert read_weights(SUITES / f"{name}.json").trained_on
