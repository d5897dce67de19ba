"""From a teacher's decisions to an agent: its judge of numbers, then the adapter that reads.

The judge is fitted first and stays as it is; the frozen blocks read each lesson once, the adapter
learns what objectives count and what words add to the judge's log-odds. Everything is kept beside
the output until it is done, so that a run that was broken off goes on.
"""

import shutil
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from coordinator.agent.aims import sentences_of
from coordinator.agent.card import write_card
from coordinator.agent.engine import BASE, Answer, answers_of, judge_beside
from coordinator.agent.lessons import (
    Lesson,
    aim_lessons,
    digest_of,
    held_back,
    lessons_of,
    targets,
    with_edges,
)
from coordinator.agent.reading import figures_of, scaled_words
from coordinator.agent.school import Course, Lot, Pupil, answers, begin, resume
from coordinator.agent.states import Progress, states_of
from coordinator.decisionsfile import read_all
from coordinator.distill import examples_of, fit
from coordinator.selection.examples import Decision, Header
from coordinator.selection.prompt import LABELS
from coordinator.selection.weights import Weights
from coordinator.weightsfile import write_weights
from proto.errors import ConfigError
from quantization.adapters.files import GGUF, write_adapter
from quantization.adapters.lora import Adapter
from quantization.runtime.model import Model, open_model, shortened
from quantization.runtime.sessions import (
    Forward,
    Task,
    check_graphs,
    open_forward,
    open_trainer,
)

MOST = 4000
"""Lessons about boxes and jobs, if nothing else is asked for."""
CHECKED = 30
"""Fleets held back that it is examined on at most: reading them takes as long as lessons do."""


@dataclass(frozen=True, slots=True)
class Lecture:
    """What is taught to whom."""

    sources: tuple[Path, ...]
    target: Path
    depth: int = 12
    """Blocks of the base model that are used at all: the answer is read after them."""
    course: Course = Course()  # noqa: RUF009 - frozen, so one default serves all
    judge: bool = True
    """Whether a linear student judges the numbers; else the model is told them in words."""
    most: int = MOST
    """Lessons about boxes and jobs that are learned at most, drawn by the seed; 0 takes all."""
    base: str = BASE
    threads: int = 1


class Material(NamedTuple):
    """Read decisions, for learning and held back."""

    header: Header
    aims: list[Lesson]
    lessons: list[Lesson]
    learned: list[Decision]
    held: list[Decision]
    judge: Weights | None

    @property
    def fleets(self) -> tuple[int, int]:
        """Learned from, and held back."""
        return len({d.fleet for d in self.learned}), len({d.fleet for d in self.held})


def distill_agent(lecture: Lecture, tell: Progress = lambda *_: None) -> dict[str, Any]:
    """The figures; adapter, judge and card are written. Raises ConfigError, StorageError."""
    if lecture.target.suffix != GGUF:
        raise ConfigError(f"{lecture.target}: an agent's file ends in {GGUF}")
    material = gather(lecture)
    folder = lecture.target.with_suffix(".work")
    course = lecture.course
    lessons = [*material.aims, *material.lessons]
    with open_model(lecture.base, threads=lecture.threads) as whole:
        model = shortened(whole, lecture.depth)
        check_graphs(model, course.blocks)
        labels = [model.tokens.single(word) for word in LABELS]
        task = Task(model.head(labels), course.alpha / course.rank)
        texts = [_ids(model, lesson.prefix + lesson.question) for lesson in lessons]
        states = states_of(model, course.blocks, texts, folder, tell)
        lot = Lot(states, _targets(material), len(material.aims))
        saved = folder / "course.npz"
        start = resume(saved, course) or begin(model, course)
        pupil = Pupil(open_trainer(model, course.blocks), task, lot, course, start, saved)
        lora = pupil.finish(tell).lora
        forward = open_forward(model, course.blocks)
        # The same texts are read to weigh words and then for the figures.
        read = cache(partial(_read, model, pupil, forward, (folder, tell)))
        judge = scaled_words(material.judge, material.held, read)
        figures = figures_of(material.held, judge, read)
        first = lecture.depth - course.blocks
        write_adapter(Adapter(lora, first, course.alpha, model.sha256), whole.facts, lecture.target)
    if judge is not None:
        write_weights(judge_beside(lecture.target), judge)
    found = {
        "student": "agent",
        "file": str(lecture.target),
        "teacher": material.header.teacher,
        "lessons": len(material.lessons),
        "aims": len(material.aims),
        "fleets": material.fleets[0],
        "loss": pupil.standing.loss,
        "held_out": figures and {"fleets": material.fleets[1], **figures},
        "depth": lecture.depth,
        "taught": _taught(material),
        "base": whole.sha256,
        "seed": course.seed,
    }
    write_card(lecture, material.header, found)
    shutil.rmtree(folder)
    return found


def gather(lecture: Lecture) -> Material:
    """Lessons for learning, and whole fleets held back. Raises ConfigError."""
    header, every = read_all(lecture.sources)
    decisions = list(with_edges(every))
    learned = [d for d in decisions if not held_back(d)]
    kept = sorted({d.fleet for d in decisions if held_back(d)}, key=digest_of)[:CHECKED]
    held = [d for d in decisions if d.fleet in kept]
    seed = lecture.course.seed
    judge, aims = None, []
    if learned and lecture.judge:
        judge = fit(examples_of(learned), header.teacher, aims=True)
        aims = aim_lessons(sentences_of(learned, seed)) if judge.aims else []
    lessons = lessons_of(learned, judge)
    if not learned:
        raise ConfigError(f"{lecture.sources[0]} holds no decision of a fleet to train on")
    if not (lessons or aims):
        raise ConfigError(
            f"{lecture.sources[0]} tells neither words of boxes nor what aims are worth: there is "
            "nothing to read, take --student linear"
        )
    if lecture.most and len(lessons) > lecture.most:
        rng = np.random.default_rng(seed)
        drawn = np.sort(rng.permutation(len(lessons))[: lecture.most])
        lessons = [lessons[k] for k in drawn]
    return Material(header, aims, lessons, learned, held, judge)


def _targets(material: Material) -> Any:
    """(lessons, labels), those about aims first, each kind weighted by itself."""
    kinds = [targets(part) for part in (material.aims, material.lessons) if part]
    return np.concatenate(kinds)


def _taught(material: Material) -> str:
    decisions = material.learned
    steps = any(sum(client.steps) for d in decisions for client in d.clients)
    stop = any(d.stop is not None and d.progress for d in decisions)
    aims = ["what an objective counts"] if material.aims else []
    parts = [
        *aims,
        "whom to ask",
        *(["steps"] if steps else []),
        *(["when to stop"] if stop else []),
    ]
    return ", ".join(parts)


def _ids(model: Model, text: str) -> list[int]:
    return model.tokens.encode(text)


def _read(
    model: Model,
    pupil: Pupil,
    forward: Forward,
    kept: tuple[Path, Progress],
    texts: tuple[str, ...],
) -> dict[str, Answer]:
    """The pupil's answer to each text."""
    if not texts:
        return {}
    states = states_of(model, pupil.course.blocks, [_ids(model, t) for t in texts], *kept)
    found = answers(forward, pupil.task, pupil.standing.lora, states)
    return dict(zip(texts, answers_of(found), strict=True))
