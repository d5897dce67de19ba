"""From a teacher's decisions to an agent's adapter."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from coordinator.agent.asking import pace_of
from coordinator.agent.distil import Lecture, distill_agent
from coordinator.agent.engine import open_mind
from coordinator.agent.judging import Choice, intervals, judged
from coordinator.agent.lessons import lessons_of
from coordinator.agent.reading import cautious
from coordinator.agent.school import Course
from coordinator.decisionsfile import read_decisions
from coordinator.selection.examples import Client
from coordinator.selection.features import beside
from coordinator.selection.prompt import OURS, question_of
from coordinator.selection.words import edges_of
from proto.errors import ConfigError
from tests.adapters.agents import DEPTH, write_base, write_lessons
from tests.adapters.tiny import write_graphs

COURSE = Course(blocks=2, rank=4, alpha=8.0, epochs=40, rate=0.02, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    for library in ("onnxruntime", "tokenizers", "gguf", "onnx"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("distil")
    before = os.environ.get("QFLEET_GRAPHS")
    os.environ["QFLEET_GRAPHS"] = str(write_graphs(folder / "graphs"))
    write_base(folder / "base.gguf")
    write_lessons(folder / "decisions.jsonl")
    yield folder
    os.environ.pop("QFLEET_GRAPHS")
    if before is not None:
        os.environ["QFLEET_GRAPHS"] = before


def lecture(folder: Path, name: str, course: Course = COURSE) -> Lecture:
    base = str(folder / "base.gguf")
    return Lecture((folder / "decisions.jsonl",), folder / name, DEPTH, course, base=base)


def test_a_student_learns_what_its_teacher_reads_and_how_many_steps(folder):
    told: list[tuple[str, int, int]] = []
    figures = distill_agent(lecture(folder, "agent.gguf"), lambda *at: told.append(at))
    held = figures["held_out"]
    assert held["loss"] < 0.7 * held["loss_of_a_constant"]
    assert held["captured"] > 0.9
    assert {what.split(",")[0] for what, _, _ in told} == {"reading", "learning"}
    card = (folder / "agent.md").read_text()
    assert "reads notes, seed 1" in card
    assert f"{held['captured']:.0%}" in card
    assert not (folder / "agent.work").exists()
    with open_mind(str(folder / "agent.gguf"), "onnx", str(folder / "base.gguf")) as mind:
        assert mind.judge is not None
        notes = ("all well", "fan broken")
        found = mind.answer(OURS, [question_of(None, edges_of([]), note) for note in notes])
        paces = [
            pace_of(mind.judge, told, found[0])
            for told in beside([{"battery": 50.0, "time_ratio": time} for time in (0.2, 0.8)])
        ]
    assert [answer.join > 0.5 for answer in found] == [True, False]
    assert paces == [3, 0]


class Broken(Exception):
    pass


def test_a_run_that_was_broken_off_goes_on_and_ends_the_same_to_the_byte(folder):
    short = replace(COURSE, epochs=100)
    whole = distill_agent(lecture(folder, "whole.gguf", short))

    def breaks(what: str, done: int, _total: int) -> None:
        if what.startswith("learning") and done >= 50:
            raise Broken

    with pytest.raises(Broken):
        distill_agent(lecture(folder, "again.gguf", short), breaks)
    assert (folder / "again.work").is_dir()
    seen: list[int] = []
    again = distill_agent(
        lecture(folder, "again.gguf", short),
        lambda what, done, _: seen.append(done) if what.startswith("learning") else None,
    )
    assert min(seen) > 50 - 25
    assert (folder / "again.gguf").read_bytes() == (folder / "whole.gguf").read_bytes()
    assert again["loss"] == whole["loss"]
    distill_agent(replace(lecture(folder, "cores.gguf", short), threads=2))
    assert (folder / "cores.gguf").read_bytes() == (folder / "whole.gguf").read_bytes()


def test_a_course_that_diverges_writes_no_agent_and_says_what_to_do(folder):
    wild = replace(COURSE, rate=1e20, epochs=410)
    with pytest.raises(ConfigError, match=r"by chance; try a lower --rate"):
        distill_agent(lecture(folder, "wild.gguf", wild))
    assert not (folder / "wild.gguf").exists()


def test_questions_that_are_alike_are_one_lesson_with_the_mean_of_its_answers(folder):
    _, decisions = read_decisions(folder / "decisions.jsonl")
    lessons = lessons_of(decisions)
    # Two notes by two paces, and three moments of the job.
    assert len(lessons) == 4 + 3
    assert all(sum(lesson.target) == pytest.approx(1) for lesson in lessons)
    assert sum(lesson.count for lesson in lessons) == 6 * 3 * 6 + 6 * 3


def test_questions_that_differ_by_figures_alone_are_one_lesson(folder):
    _, decisions = read_decisions(folder / "decisions.jsonl")
    one = next(decisions)
    told = [replace_note(one.clients[0], f"fan {speed} rpm") for speed in (900, 1250)]
    (lesson,) = lessons_of([msgspec.structs.replace(one, clients=tuple(told), stop=None)])
    assert '"fan 900 rpm"' in lesson.question
    assert lesson.count == 2


def test_a_nought_is_a_figure_that_means_something(folder):
    _, decisions = read_decisions(folder / "decisions.jsonl")
    one = next(decisions)
    notes = ("fan0 duty=40 rpm=910 stall=0", "fan0 duty=100 rpm=0 stall=1", "up 0.0 s", "up 0.5 s")
    told = tuple(replace_note(client, n) for client, n in zip(one.clients * 4, notes, strict=False))
    lessons = lessons_of([msgspec.structs.replace(one, clients=told, stop=None)])
    assert len(lessons) == len(notes)


def replace_note(client: Client, note: str) -> Client:
    return msgspec.structs.replace(client, note=note)


def test_a_choice_is_judged_by_what_the_teacher_thought_of_it():
    taught = (0.9, 0.8, 0.1, 0.2)
    perfect = judged([Choice(2, taught, taught)])
    worst = judged([Choice(2, taught, tuple(1 - x for x in taught))])
    assert perfect["captured"] == pytest.approx(1)
    assert worst["captured"] == pytest.approx(-1)
    assert perfect["loss"] == pytest.approx(perfect["least_loss"])


def test_an_interval_is_as_wide_as_fleets_differ():
    taught = (0.9, 0.8, 0.1, 0.2)
    good, bad = Choice(2, taught, taught), Choice(2, taught, tuple(1 - x for x in taught))
    alike = intervals([[good, bad]] * 8)
    apart = intervals([[good, good], [bad, bad]] * 4)
    assert alike["captured_95"] == pytest.approx([0, 0])
    assert apart["captured_95"][0] < -0.3 < 0.3 < apart["captured_95"][1]
    assert apart["loss_95"][0] < alike["loss_95"][0] < apart["loss_95"][1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": Path("agent.json")}, "ends in .gguf"),
        ({"depth": 9}, "9 blocks; the model has 4"),
        ({"depth": 2}, "2 trained blocks"),
    ],
)
def test_a_lecture_that_cannot_be_held_says_why(folder, change, said):
    with pytest.raises(ConfigError, match=said):
        distill_agent(replace(lecture(folder, "x.gguf"), **change))


def test_words_count_no_more_than_is_sure_to_serve():
    rng = np.random.default_rng(0)
    fleets = rng.normal(0, 1, 20)
    lost = {0.0: fleets + 1, 0.25: fleets + 0.02, 0.5: fleets + rng.normal(0, 0.1, 20)}
    assert cautious(lost) == 0.25
    assert cautious({**lost, 0.25: fleets + 0.5}) == 0.5
    assert cautious({0.0: fleets, 0.5: fleets}) == 0
    assert cautious({0.0: np.array([2.0]), 0.5: np.array([1.0])}) == 0.5
