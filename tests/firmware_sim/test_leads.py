"""A student leads fleets, the teacher writes down what were better: `fleet teach --lead`."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.agent.engine import SHIPPED, judge_beside, stop_beside
from coordinator.decisionsfile import read_decisions
from coordinator.selection.examples import Decision
from coordinator.selection.weights import VERSION, Head, Weights
from coordinator.weightsfile import write_weights
from firmware_sim import leads
from firmware_sim.cli import app
from firmware_sim.demo import model_missing
from firmware_sim.emulation import Emulation, Settings, emulate
from firmware_sim.leads import Lead, known_lead, known_scenario, lead_of
from firmware_sim.scenario import parse, read
from firmware_sim.teach import led
from firmware_sim.teacher import Teacher
from tests.firmware_sim.test_teacher import SMALL


def student(path: Path, liking: float, feature: str = "rows") -> Path:
    """One that looks at boxes' rows alone."""
    write_weights(
        path,
        Weights(
            version=VERSION,
            features=(feature,),
            mean=(3.4,),
            scale=(0.1,),
            join=Head(weights=(liking,), bias=0.0),
        ),
    )
    return path


def taught(folder: Path, *more: str) -> list[Decision]:
    scenario, out = folder / "small.toml", folder / "decisions.jsonl"
    scenario.write_text(SMALL)
    out.unlink(missing_ok=True)
    call = ["teach", str(scenario), "-o", str(out), "--first", "7", "--json", *more]
    found = CliRunner().invoke(app, call)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["fleets"] == len({d.fleet for d in read_decisions(out)[1]})
    return list(read_decisions(out)[1])


def test_the_student_chooses_and_the_teacher_writes_what_it_would_have_chosen(tmp_path: Path):
    for liking in (1.0, -1.0):
        lead, teachers = lead_of(student(tmp_path / "student.json", liking)), []

        def advisor(emulation: Emulation, lead: Lead = lead) -> Teacher:
            teachers.append(Teacher(emulation, lead=lead))  # noqa: B023 - called in this turn
            return teachers[0]  # noqa: B023

        outcome = emulate(led(parse(SMALL)), 7, Settings(traced=False, advisor=advisor))
        asked = [row.asked for row in outcome.rounds if row.kind == "train"]
        decisions = teachers[0].decisions
        assert len(decisions) == len(asked) == 3
        for decision, numbers in zip(decisions, asked, strict=True):
            rows = {c.box: liking * c.features["rows"] for c in decision.clients}
            boxes = {f"c{number:06}" for number in numbers}
            assert min(rows[box] for box in boxes) >= sorted(rows.values())[-len(boxes)]
        joins = [c.join for decision in decisions for c in decision.clients]
        assert min(joins) < 0.5 < max(joins)


def test_fleets_side_by_side_give_the_same_file_as_one_after_the_other(tmp_path: Path):
    lead = student(tmp_path / "student.json", 1.0)
    call = ("--fleets", "2", "--lead", str(lead), "--processes")
    found = taught(tmp_path, *call, "2")
    assert found == taught(tmp_path, *call, "1")
    other = student(tmp_path / "student.json", -1.0)
    assert found != taught(tmp_path, "--fleets", "2", "--lead", str(other))


def test_a_leading_agent_is_known_by_what_lies_beside_it_and_by_the_code_that_asks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if missing := model_missing():
        pytest.skip(missing)
    own, code = tmp_path / "own.gguf", tmp_path / "coordinator" / "agent"
    for of in (Path, judge_beside, stop_beside):
        shutil.copy(of(SHIPPED), of(own))
    code.mkdir(parents=True)
    monkeypatch.setattr(leads, "ROOT", tmp_path)

    def known(text: str) -> str:
        (code / "asking.py").write_text(text)
        return known_lead(own)

    first = known("x = 1")
    assert known('"""What it does."""\nx = 1  # so many') == first
    assert known("x = 2") != first
    stop_beside(own).unlink()
    assert known("x = 1") != first


def test_a_leading_student_of_numbers_is_known_by_its_own_file_alone(tmp_path: Path):
    own = student(tmp_path / "s.json", 1.0)
    known = known_lead(own)
    for beside in (judge_beside(own), stop_beside(own)):
        student(beside, 1.0, "done")
    assert known_lead(own) == known
    assert known_lead(student(own, 2.0)) != known


def named(folder: Path, policy: str, file: str) -> Path:
    """A scenario that names a student's file beside it."""
    folder.mkdir(exist_ok=True)
    path = folder / "small.toml"
    text = SMALL.replace("[work.rounds]", f'[work.rounds]\npolicy = "{policy}"')
    path.write_text(f'{text}\n[work.selection]\nweights = "{file}"')
    return path


def test_a_scenario_is_the_same_wherever_the_agent_lies_that_it_names(tmp_path: Path):
    here, there = (named(tmp_path / at, "agent", "a.gguf") for at in ("here", "there"))
    (there.parent / "a.gguf").write_bytes(b"adapter")
    (here.parent / "a.gguf").write_bytes(b"adapter")
    known = known_scenario(read(here))
    assert known_scenario(read(there)) == known
    for part, feature in (("stop", "done"), ("judge", "rows")):
        beside = student(there.parent / f"a.{part}.json", 1.0, feature)
        assert known_scenario(read(there)) != known
        beside.unlink()
    (there.parent / "a.gguf").write_bytes(b"another")
    assert known_scenario(read(there)) != known


def test_a_scenario_is_the_same_wherever_the_student_lies_that_it_names(tmp_path: Path):
    here = named(tmp_path / "here", "linear", "s.json")
    there = named(tmp_path / "there", "linear", "../s.json")
    student(here.parent / "s.json", 1.0)
    student(tmp_path / "s.json", 1.0)
    known = known_scenario(read(here))
    assert known_scenario(read(there)) == known
    student(tmp_path / "s.json", 2.0)
    assert known_scenario(read(there)) != known
