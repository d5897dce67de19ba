"""From a teacher's decisions to a linear student that plans rounds."""

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.decisionsfile import line_of, read_all, read_decisions, write_decisions
from coordinator.distill import distill_linear, examples_of, fit
from coordinator.selection.candidates import Candidate, Past
from coordinator.selection.examples import Client, Decision, Header
from coordinator.selection.features import BESIDE, FEATURES, beside, features
from coordinator.selection.linear import log_odds
from coordinator.selection.plan import plan
from coordinator.selection.request import Pace, Request
from coordinator.selection.weights import Weights
from coordinator.taskfile import read, rules_of
from coordinator.weightsfile import MAX_FILE, read_weights
from proto.errors import ConfigError
from proto.messages import Resources
from tests.coordinator.test_taskfile import GOOD as GOOD_TASK

HEADER = Header(
    format="qfleet-decisions", version=1, teacher="fast links", seed=7, scenarios=("s",)
)


def boxes(rng: np.random.Generator, count: int = 12) -> list[Candidate]:
    return [
        Candidate(
            f"b{at:02}",
            int(rng.integers(20, 500)),
            resources=Resources(
                link_kbps=int(10 ** rng.uniform(1, 5)),
                battery=int(rng.integers(20, 101)) if rng.random() < 0.5 else None,
            ),
            past=Past(asked=2, delivered=2, seconds=float(rng.uniform(1, 60)), steps=10),
        )
        for at in range(count)
    ]


def decisions(fleets: int = 10, rounds: int = 6) -> list[Decision]:
    """A teacher who likes fast links and nothing else, with soft targets."""
    rng, made = np.random.default_rng(3), []
    for fleet in range(fleets):
        for number in range(1, rounds + 1):
            wanted = Request("linear", 4, 0, number, Pace(10, number), 60.0)
            clients = tuple(
                Client(
                    box=c.box,
                    features=features(c, wanted),
                    join=float(1 / (1 + np.exp(4 - np.log(c.resources.link_kbps or 1)))),
                )
                for c in boxes(rng)
            )
            made.append(Decision(fleet=f"fleet-{fleet}", round=number, cohort=4, clients=clients))
    return made


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "decisions.jsonl"
    write_decisions(path, HEADER, decisions())
    return path


def test_what_a_teacher_wrote_is_read_back(taught):
    header, found = read_decisions(taught)
    assert (header, list(found)) == (HEADER, decisions())


def test_a_student_finds_what_its_teacher_goes_by(taught, tmp_path):
    figures = distill_linear([taught], tmp_path / "linear.json")
    strongest = max(figures["weights"], key=lambda name: abs(figures["weights"][name]))
    assert strongest == "link_kbps_beside"
    assert figures["weights"]["link_kbps_beside"] > 1
    assert figures["held_out"]["loss"] < 0.8 * figures["held_out"]["loss_of_a_constant"]
    again = distill_linear([taught], tmp_path / "again.json")
    assert again["weights"] == figures["weights"]


def test_the_command_writes_a_student_that_a_task_plans_with(taught, tmp_path):
    call = ["distill", str(taught), "-o", str(tmp_path / "linear.json"), "--json"]
    found = CliRunner().invoke(app, call)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["boxes"] > 0
    task = tmp_path / "task.toml"
    task.write_text(
        GOOD_TASK + '[rounds]\npolicy = "linear"\n[selection]\nweights = "linear.json"\n'
    )
    rules = rules_of(read(task))
    assert rules.weights == read_weights(tmp_path / "linear.json")
    fleet = boxes(np.random.default_rng(11))
    wanted = Request("linear", 3, 0, 1, Pace(10, 1), 60.0, weights=rules.weights)
    made = plan(fleet, wanted)
    speeds = {c.box: c.resources.link_kbps for c in fleet}
    fastest = sorted(made.scores, key=speeds.get)[-3:]
    assert made.fallback == ""
    assert len(set(made.cohort) & set(fastest)) >= 2


def test_decisions_may_come_through_a_pipe(taught):
    out, into = os.pipe()
    with os.fdopen(into, "wb") as writing:
        for value in (HEADER, *decisions()[:3]):
            writing.write(line_of(value))
    header, found = read_decisions(Path(f"/dev/fd/{out}"))
    assert (header, list(found)) == (HEADER, decisions()[:3])
    os.close(out)


def test_several_files_are_learned_from_as_if_they_were_one(taught, tmp_path):
    every = decisions()
    halves = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    write_decisions(halves[0], HEADER, every[:30])
    led = msgspec.structs.replace(HEADER, teacher="led by one", scenarios=("t",))
    write_decisions(halves[1], led, every[30:])
    header, found = read_all(halves)
    assert (header.teacher, header.scenarios) == ("fast links; led by one", ("s", "t"))
    assert list(found) == every
    call = ["distill", *map(str, halves), "-o", str(tmp_path / "two.json")]
    assert CliRunner().invoke(app, call).exit_code == 0
    distill_linear([taught], tmp_path / "one.json")
    one, two = (read_weights(tmp_path / f"{name}.json") for name in ("one", "two"))
    assert isinstance(one, Weights)
    assert isinstance(two, Weights)
    assert two.join == one.join


def test_files_whose_classes_of_steps_differ_are_not_mixed(taught, tmp_path):
    write_decisions(tmp_path / "other.jsonl", msgspec.structs.replace(HEADER, steps=(5, 10)), [])
    with pytest.raises(ConfigError, match=r"other.jsonl: its classes of steps are \(5, 10\), \(\)"):
        read_all([taught, tmp_path / "other.jsonl"])


def test_a_number_is_read_beside_those_of_the_rounds_other_boxes():
    told = beside([{"rows": 99.0, "misses": 1.0}, {"rows": 99.0, "misses": 3.0}, {"rows": 999.0}])
    assert [one["rows_beside"] for one in told] == pytest.approx([0, 0, np.log(10)])
    assert [one["misses_beside"] for one in told] == [-1.0, 1.0, None]
    assert beside([{"rows": 5.0}])[0]["rows_beside"] == 0.0


def test_one_box_that_reports_absurd_numbers_moves_no_others_columns_much():
    fleet = boxes(np.random.default_rng(5))
    honest = [features(c, Request("linear", 3, 0, 1, Pace(10, 1), 60.0)) for c in fleet]
    liar = {**honest[0], "link_kbps": 1e12, "rows": 1e12, "time_ratio": 1e12, "battery": -1e9}
    for before, after in zip(beside(honest)[1:], beside([liar, *honest[1:]])[1:], strict=True):
        for name in BESIDE:
            if before[name] is not None:
                spread = 50.0 if name == "battery_beside" else 2.0
                assert abs(after[name] - before[name]) < spread


def test_what_a_number_is_worth_depends_on_the_owners_prices():
    """A teacher who shuns slow boxes where time counts, and minds nothing where energy does."""
    rng, made = np.random.default_rng(4), []
    for fleet in range(10):
        time = float(fleet % 2)
        for number in range(1, 5):
            wanted = Request("linear", 4, 0, number, Pace(10, number), 60.0)
            found = boxes(rng)
            paces = [np.log((c.past.seconds or 1) / 60 + 0.01) for c in found]
            clients = tuple(
                Client(
                    box=c.box,
                    features=features(c, wanted),
                    join=0.1,
                    worth=float(1 / (1 + np.exp(2 * time * (pace - np.mean(paces))))),
                )
                for c, pace in zip(found, paces, strict=True)
            )
            prices = {"time": time, "energy": 1 - time}
            made.append(
                Decision(
                    fleet=f"fleet-{fleet}", round=number, cohort=4, clients=clients, prices=prices
                )
            )
    student = fit(examples_of(made), aims=True)
    slow, quick = beside([{"time_ratio": 0.9}, {"time_ratio": 0.1}])

    def apart(**prices: float) -> float:
        odds = [log_odds(student, student.join, box, prices) for box in (quick, slow)]
        return odds[0] - odds[1]

    assert apart(time=1.0, energy=0.0) > 2.5
    assert abs(apart(time=0.0, energy=1.0)) < 0.8
    assert apart(**student.usual) == pytest.approx(apart())
    assert 0.5 < apart() < apart(time=1.0, energy=0.0)
    assert fit(examples_of(made)).aims == {}


def test_the_table_for_people_names_the_strongest_feature_first(taught, tmp_path):
    found = CliRunner().invoke(app, ["distill", str(taught), "-o", str(tmp_path / "linear.json")])
    assert found.exit_code == 0, found.output
    assert found.stdout.index("link_kbps") < found.stdout.index("battery")


def test_a_job_by_linear_without_a_student_is_refused(tmp_path):
    task = tmp_path / "task.toml"
    task.write_text(GOOD_TASK + '[rounds]\npolicy = "linear"\n')
    with pytest.raises(ConfigError, match=r"selection\.weights"):
        rules_of(read(task))


HEAD = {"weights": [0.0] * len(BESIDE), "bias": 0.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"version": 9, "extra": 1},
            "version 9, this release reads .*again by coordinator distill",
        ),
        ({"scale": [0.0] * len(BESIDE)}, "not above 0"),
        ({"mean": [1.0]}, "one number for each feature"),
        ({"features": ["shoe size", *BESIDE[1:]]}, "does not know: shoe size"),
        ({"features": [FEATURES[0]] * len(FEATURES)}, "named twice"),
        ({"aims": {"time": [0.0] * len(FEATURES)}}, "the same prices"),
        ({"aims": {"time": [0.0]}, "usual": {"time": 0.5}}, "one number for each feature"),
        ({"steps": [{"weights": [0.0], "bias": 0.0}]}, "one number for each feature"),
        ({"steps": [HEAD] * 2}, "2 heads of steps, where .* again by coordinator distill"),
        ({"words": -1.0}, "words"),
        ({"mean": [1e7] * len(FEATURES)}, "beyond 1e"),
        ({"extra": 1}, "unknown field"),
    ],
)
def test_a_broken_student_is_refused_with_the_reason(taught, tmp_path, change, said):
    path = tmp_path / "linear.json"
    distill_linear([taught], path)
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | change))
    with pytest.raises(ConfigError, match=said):
        read_weights(path)


def test_a_students_file_that_is_no_file_or_too_long_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_weights(tmp_path / "none.json")
    (tmp_path / "long.json").write_bytes(b" " * (MAX_FILE + 1))
    with pytest.raises(ConfigError, match="larger than"):
        read_weights(tmp_path / "long.json")


GOOD = line_of(HEADER) + line_of(decisions(1, 1)[0])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"{}\n", "line 1.*format"),
        (GOOD.replace(b'"version":1', b'"version":2'), "line 1: not decisions of version 1"),
        (GOOD.replace(b'"join":0', b'"join":9'), "line 2.*join"),
        (GOOD.replace(b'"box":"b00"', b'"box":"B 00"'), "line 2.*box"),
        (GOOD[:-30], "line 2"),
        (GOOD + b"\xff\n", "line 3"),
        (line_of(HEADER), "no decision"),
    ],
)
def test_a_broken_file_of_decisions_is_refused_with_the_line(tmp_path, data, said):
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        distill_linear([path], tmp_path / "linear.json")


def test_another_students_name_is_refused(taught, tmp_path):
    call = ["distill", str(taught), "-o", str(tmp_path / "x"), "--student", "oracle"]
    found = CliRunner().invoke(app, call)
    assert isinstance(found.exception, ConfigError)


@pytest.mark.parametrize(
    "wrong",
    [
        *("--rate nan", "--rate 0", "--rate 2", "--epochs 0", "--epochs inf"),
        *("--rank 0", "--rank 65", "--depth 0", "--blocks 0", "--most -1", "--seed -1"),
    ],
)
def test_a_course_that_teaches_nothing_is_refused_before_anything_is_read(tmp_path, wrong):
    call = ["distill", str(tmp_path / "none.jsonl"), "-o", str(tmp_path / "a.gguf")]
    found = CliRunner().invoke(app, [*call, *wrong.split()])
    told = found.output if found.exit_code == 2 else str(found.exception)  # typer's, or our own
    assert wrong.split()[0] in told
    assert "none.jsonl" not in told
