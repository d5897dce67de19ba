"""The fleets policies are compared on are those fixed before students were trained."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path

from msgspec.structs import asdict

import firmware_sim
from coordinator.weightsfile import read_weights
from firmware_sim.prices import aims
from firmware_sim.scenario import read

SUITES = Path(__file__).parent.parent / "benchmarks" / "suites"
WORDS = "words-of-tests"


def written() -> dict[str, str]:
    lines = (SUITES / "HASHES").read_text(encoding="utf-8").splitlines()
    return dict(reversed(line.split()) for line in lines)


def test_no_suite_has_changed_since_its_hash_was_written_down():
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in SUITES.glob("*.toml")}
    assert {name: told for name, told in written().items() if name != WORDS} == found


def test_the_words_of_tests_have_not_changed_since_their_hash_was_written_down():
    """What owners say there, what that is worth, and what journals and notes are made of."""
    unseen = {name: (asdict(aim.prices), aim.held_out) for name, aim in aims().items()}
    templates = files(firmware_sim).joinpath("journal.toml").read_bytes()
    told = json.dumps(unseen, sort_keys=True).encode() + templates
    assert written()[WORDS] == hashlib.sha256(told).hexdigest()


def test_every_suite_is_a_scenario_and_those_to_learn_on_hold_no_wording_of_the_tests():
    scenarios = {path.stem: read(path) for path in SUITES.glob("*.toml")}
    to_learn_on = [s for s in scenarios.values() if s.name.startswith("train-")]
    assert all(s.wordings != "held-out" for s in to_learn_on)
    assert len(to_learn_on) == 4
    assert scenarios["journals"].wordings == "held-out"
    assert len({s.name for s in scenarios.values()}) == len(scenarios)


def test_the_students_that_lie_beside_the_suites_are_of_this_release():
    for name in ("linear", "gbm", "gbm-words"):
        assert read_weights(SUITES / f"{name}.json").trained_on
