"""Boosted trees from a teacher's decisions: what they learn, and files that are refused."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.decisionsfile import write_decisions
from coordinator.selection.candidates import Candidate, Past
from coordinator.selection.examples import Client, Decision
from coordinator.selection.features import features
from coordinator.selection.plan import plan
from coordinator.selection.request import Pace, Request
from coordinator.selection.terms import Terms, text_of, values
from coordinator.taskfile import read, rules_of
from coordinator.weightsfile import read_weights
from proto.errors import ConfigError
from proto.messages import Resources
from tests.coordinator.test_distill import HEADER
from tests.coordinator.test_taskfile import GOOD as GOOD_TASK

pytest.importorskip("sklearn")

SIGNS = ("5 min ago: supply sags badly", "2 min ago: rail is low, supply sags")
FINE = ("5 min ago: cron ran", "40 d ago: supply sags badly")


def boxes(rng: np.random.Generator, count: int = 12) -> list[Candidate]:
    """Slow or quick, and half of them with a journal that tells of trouble."""
    return [
        Candidate(
            f"b{at:02}",
            100,
            resources=Resources(journal=SIGNS if rng.random() < 0.5 else FINE),
            past=Past(asked=2, delivered=2, seconds=float(rng.uniform(1, 60)), steps=10),
        )
        for at in range(count)
    ]


def liked(box: Candidate) -> float:
    return 0.05 if box.resources.journal == SIGNS else 0.9 - (box.past.seconds or 0) / 100


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    rng, made = np.random.default_rng(3), []
    for fleet in range(10):
        for number in range(1, 5):
            wanted = Request("gbm", 4, 0, number, Pace(10, number), 60.0)
            clients = tuple(
                Client(
                    box=c.box,
                    features=features(c, wanted),
                    join=liked(c),
                    journal=c.resources.journal,
                )
                for c in boxes(rng)
            )
            made.append(Decision(fleet=f"fleet-{fleet}", round=number, cohort=4, clients=clients))
    path = tmp_path_factory.mktemp("teacher") / "decisions.jsonl"
    write_decisions(path, HEADER, made)
    return path


def distilled(taught: Path, target: Path, student: str) -> dict[str, object]:
    call = ["distill", str(taught), "-o", str(target), "--student", student, "--json"]
    found = CliRunner().invoke(app, call)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_trees_with_words_read_what_numbers_do_not_tell(taught, tmp_path):
    numbers = distilled(taught, tmp_path / "gbm.json", "gbm")["held_out"]
    words = distilled(taught, tmp_path / "words.json", "gbm-words")["held_out"]
    assert words["loss"] < numbers["loss"] - 0.1
    assert words["loss"] < words["loss_of_a_constant"] - 0.1


def test_a_task_plans_with_them_and_old_news_do_not_count(taught, tmp_path):
    distilled(taught, tmp_path / "words.json", "gbm-words")
    task = tmp_path / "task.toml"
    task.write_text(GOOD_TASK + '[rounds]\npolicy = "gbm"\n[selection]\nweights = "words.json"\n')
    rules = rules_of(read(task))
    assert rules.weights == read_weights(tmp_path / "words.json")
    fleet = boxes(np.random.default_rng(11))
    made = plan(fleet, Request("gbm", 3, 0, 1, Pace(10, 1), 60.0, weights=rules.weights))
    assert made.fallback == ""
    assert set(made.cohort) < {c.box for c in fleet if c.resources.journal == FINE}


def test_without_its_file_the_hand_rule_decides_and_a_job_is_refused(tmp_path):
    made = plan(boxes(np.random.default_rng(1)), Request("gbm", 3, 0, 1))
    assert "given no score" in made.fallback
    task = tmp_path / "task.toml"
    task.write_text(GOOD_TASK + '[rounds]\npolicy = "gbm"\n')
    with pytest.raises(ConfigError, match=r"selection\.weights"):
        rules_of(read(task))


def test_figures_are_one_word_and_a_text_without_a_term_is_all_zero():
    terms = Terms(words=("at 0", "supply"), idf=(1.0, 1.0))
    assert values(terms, text_of("", ("1 s ago: at 4.38 V",))) == [1.0, 0.0]
    assert values(terms, text_of("Supply", ("1 s ago: at 12",))) == pytest.approx([0.5**0.5] * 2)
    assert values(terms, text_of("all is well", ("3 d ago: supply at 3",))) == [0.0, 0.0]


LEAF = [[-1], [0.5], [-1], [-1], [False]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 9}, "version 9, this release reads .*again by coordinator distill"),
        ({"trees": [[[0, -1, -1], [1, 0, 0], [0, -1, -1], [2, -1, -1], [False] * 3]]}, "after it"),
        ({"trees": [[[0, -1, -1], [1, 0, 0], [1, -1, -1], [3, -1, -1], [False] * 3]]}, "after it"),
        ({"trees": [[[99, -1, -1], [1, 0, 0], [1, -1, -1], [2, -1, -1], [False] * 3]]}, "there"),
        ({"trees": [[*LEAF[:1], [1e13], *LEAF[2:]]]}, "beyond"),
        ({"trees": [[[], [], [], [], []]]}, "nodes"),
        ({"bias": 1e9}, "beyond"),
        ({"terms": {"words": ["a"], "idf": []}}, "one entry"),
        ({"format": "qfleet-else"}, "format"),
        ({"extra": 1}, "unknown field"),
    ],
)
def test_a_broken_file_of_trees_is_refused_with_the_reason(taught, tmp_path, change, said):
    path = tmp_path / "gbm.json"
    distilled(taught, path, "gbm")
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | change))
    with pytest.raises(ConfigError, match=said):
        read_weights(path)


def test_a_number_nobody_knows_goes_its_own_way_down_a_tree(taught, tmp_path):
    distilled(taught, tmp_path / "gbm.json", "gbm")
    student = read_weights(tmp_path / "gbm.json")
    row: list[float | None] = [None] * len(student.features)
    assert all(-4 <= tree.of(row) <= 4 for tree in student.trees)
    assert replace(student, bias=1.0).bias == 1.0
