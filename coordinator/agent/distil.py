"""From a teacher's decisions to an adapter: read, run the frozen blocks once, learn, judge, write.

Everything is kept beside the output until it is done, so that a run that was broken off goes on.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from coordinator.agent.card import write_card
from coordinator.agent.engine import BASE, answers_of, gauge_beside
from coordinator.agent.judging import Choice, judged
from coordinator.agent.lessons import (
    Lesson,
    asked,
    held_back,
    lessons_of,
    targets,
    with_edges,
)
from coordinator.agent.school import Course, Lot, Pupil, answers, begin, resume
from coordinator.agent.states import Progress, States, states_of
from coordinator.decisionsfile import read_decisions
from coordinator.distill import examples_of, fit
from coordinator.selection.examples import Decision, Header
from coordinator.selection.prompt import LABELS, prefix_of
from coordinator.selection.weights import Weights
from coordinator.weightsfile import write_weights
from proto.errors import ConfigError
from quantization.adapters.files import GGUF, write_adapter
from quantization.adapters.lora import Adapter
from quantization.runtime.model import Model, open_model, shortened
from quantization.runtime.sessions import (
    Task,
    check_graphs,
    open_forward,
    open_trainer,
)


@dataclass(frozen=True, slots=True)
class Lecture:
    """What is taught to whom."""

    source: Path
    target: Path
    depth: int = 12
    """Blocks of the base model that are used at all: the answer is read after them."""
    course: Course = Course()  # noqa: RUF009 - frozen, so one default serves all
    gauge: bool = True
    """Whether questions tell what a linear student of the same decisions makes of the numbers."""
    most: int = 0
    """Lessons that are learned at most, drawn by the seed; 0 takes all."""
    base: str = BASE


class Material(NamedTuple):
    """Read decisions, for learning and held back."""

    header: Header
    lessons: list[Lesson]
    held: list[Decision]
    gauge: Weights | None
    fleets: tuple[int, int]
    taught: str
    """What the decisions answer."""


def distill_agent(lecture: Lecture, tell: Progress = lambda *_: None) -> dict[str, Any]:
    """The figures; the adapter and its card are written. Raises ConfigError, StorageError."""
    if lecture.target.suffix != GGUF:
        raise ConfigError(f"{lecture.target}: an agent's file ends in {GGUF}")
    material = gather(lecture)
    folder = lecture.target.with_suffix(".work")
    course = lecture.course
    with open_model(lecture.base) as whole:
        model = shortened(whole, lecture.depth)
        check_graphs(model, course.blocks)
        labels = [model.tokens.single(word) for word in LABELS]
        task = Task(model.head(labels), course.alpha / course.rank)
        texts = [_ids(model, lesson.prefix + lesson.question) for lesson in material.lessons]
        lot = Lot(states_of(model, course.blocks, texts, folder, tell), targets(material.lessons))
        saved = folder / "course.npz"
        start = resume(saved, course) or begin(model, course)
        pupil = Pupil(open_trainer(model, course.blocks), task, lot, course, start, saved)
        lora = pupil.finish(tell).lora
        figures = _judge(model, lecture, material, (lora, task), tell)
        first = lecture.depth - course.blocks
        write_adapter(Adapter(lora, first, course.alpha, model.sha256), whole.facts, lecture.target)
    if material.gauge is not None:
        write_weights(gauge_beside(lecture.target), material.gauge)
    found = {
        "student": "agent",
        "file": str(lecture.target),
        "teacher": material.header.teacher,
        "lessons": len(material.lessons),
        "fleets": material.fleets[0],
        "loss": pupil.standing.loss,
        "held_out": figures and {"fleets": material.fleets[1], **figures},
        "depth": lecture.depth,
        "taught": material.taught,
        "base": whole.sha256,
        "seed": course.seed,
    }
    write_card(lecture, material.header, found)
    shutil.rmtree(folder)
    return found


def gather(lecture: Lecture) -> Material:
    """Lessons for learning, and whole fleets held back. Raises ConfigError."""
    header, every = read_decisions(lecture.source)
    decisions = list(with_edges(every))
    learned = [d for d in decisions if not held_back(d)]
    held = [d for d in decisions if held_back(d)]
    gauge = fit(examples_of(learned), header.teacher) if learned and lecture.gauge else None
    lessons = lessons_of(learned, gauge)
    if not lessons:
        raise ConfigError(f"{lecture.source} holds no decision of a fleet to train on")
    if lecture.most and len(lessons) > lecture.most:
        rng = np.random.default_rng(lecture.course.seed)
        kept = np.sort(rng.permutation(len(lessons))[: lecture.most])
        lessons = [lessons[k] for k in kept]
    fleets = len({d.fleet for d in learned}), len({d.fleet for d in held})
    return Material(header, lessons, held, gauge, fleets, _taught(learned))


def _taught(decisions: list[Decision]) -> str:
    steps = any(sum(client.steps) for d in decisions for client in d.clients)
    stop = any(d.stop is not None and d.progress for d in decisions)
    parts = ["whom to ask", *(["steps"] if steps else []), *(["when to stop"] if stop else [])]
    return ", ".join(parts)


def _ids(model: Model, text: str) -> list[int]:
    return model.tokens.encode(text)


def _judge(
    model: Model,
    lecture: Lecture,
    material: Material,
    learned: tuple[Any, Task],
    tell: Progress,
) -> dict[str, float] | None:
    """How the student does on fleets it never saw; None where none was held back."""
    held = material.held
    if not held:
        return None
    lora, task = learned
    texts = [prefix_of(d.objective) + asked(c, d, material.gauge) for d in held for c in d.clients]
    different = list(dict.fromkeys(texts))
    ids = [_ids(model, text) for text in different]
    folder = lecture.target.with_suffix(".work")
    states: States = states_of(model, lecture.course.blocks, ids, folder, tell)
    forward = open_forward(model, lecture.course.blocks)
    said = dict(zip(different, answers_of(answers(forward, task, lora, states)), strict=True))
    at = iter(texts)
    choices = [
        Choice(d.cohort, [c.join for c in d.clients], [said[next(at)].join for _ in d.clients])
        for d in held
    ]
    return judged(choices)
