"""Teaches an adapter a set of lessons: Adam on soft targets, seeded, resumable.

The base stays in its own 4-bit blocks and gradients come from onnxruntime: QLoRA (Dettmers et al.
2023, arXiv 2305.14314) without torch, on the last blocks.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.random import Generator

from coordinator.agent.states import Progress, States
from proto.errors import ConfigError, StorageError
from quantization.adapters.lora import fresh
from quantization.arrays import Array, Arrays
from quantization.runtime.model import Model
from quantization.runtime.sessions import Batch, Forward, Task, Trainer

BETAS = (0.9, 0.98)
EPSILON = 1e-8
CLIP = 1.0
"""Of the gradient's norm."""
WARM = 0.05
"""Share of all steps in which the rate rises."""
LEAST = 0.05
"""Of the rate, at the end."""
NEAR = 16
"""Batches whose lessons are sorted by length together, so that little is padded."""
SETTLED = 200
"""Steps after which the running loss has forgotten the first ones."""
SAVE = 25
"""Steps between notes of how far it is."""


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how hard. The same course on the same lessons gives the same adapter."""

    blocks: int = 6
    """Last blocks that are adapted."""
    rank: int = 8
    alpha: float = 16.0
    epochs: float = 1.5
    first: float = 5.0
    """Epochs of the early lessons before all are learned together."""
    batch: int = 8
    rate: float = 6e-3
    decay: float = 0.01
    seed: int = 0


class Lot(NamedTuple):
    """What is learned: states, and what each label should get (lessons, labels)."""

    states: States
    targets: Array
    early: int = 0
    """So many of the lessons are learned by themselves first."""


@dataclass(slots=True)
class Standing:
    """Where a course is."""

    step: int
    lora: dict[str, Array]
    first: dict[str, Array]
    second: dict[str, Array]
    loss: float = math.nan
    """A running mean."""


@dataclass(slots=True)
class Pupil:
    """One adapter that is being taught."""

    trainer: Trainer
    task: Task
    lot: Lot
    course: Course
    standing: Standing
    keep: Path | None

    @property
    def steps(self) -> int:
        """In the whole course."""
        return self.early + max(1, round(self.course.epochs * self._count / self.course.batch))

    @property
    def early(self) -> int:
        """Steps with the early lessons alone."""
        return round(self.course.first * self.lot.early / self.course.batch)

    @property
    def _count(self) -> int:
        return len(self.lot.targets)

    def finish(self, tell: Progress) -> Standing:
        """To the end of the course. Raises ConfigError where it diverges, StorageError."""
        order: list[list[int]] = []
        part: tuple[bool, int] | None = None
        while self.standing.step < self.steps:
            step, early = self.standing.step, self.standing.step < self.early
            count = self.lot.early if early else self._count
            epoch, at = divmod(
                step if early else step - self.early, math.ceil(count / self.course.batch)
            )
            if part != (early, epoch):
                part = early, epoch
                order = _order(self.lot.states, self.course, count, epoch)
            self._step(order[at])
            if self.standing.step % SAVE == 0:
                tell(f"learning, loss {self.standing.loss:.4f}", self.standing.step, self.steps)
                self._save()
                self._check()
        self._save()
        return self.standing

    def _check(self) -> None:
        """Raises ConfigError where, half through, answers are worse than by chance."""
        chance = math.log(self.lot.targets.shape[1])
        if self.standing.step > max(SETTLED, self.steps / 2) and not self.standing.loss < chance:
            raise ConfigError(
                f"learning has come to nothing: after {self.standing.step} steps the loss is "
                f"{self.standing.loss:.2f}, {chance:.2f} by chance; try a lower --rate"
            )

    def _step(self, lessons: list[int]) -> None:
        s = self.standing
        hidden, last = self.lot.states.batch(lessons)
        found = self.trainer.step(s.lora, self.task, Batch(hidden, last, self.lot.targets[lessons]))
        s.step += 1
        s.loss = found.loss if math.isnan(s.loss) else 0.98 * s.loss + 0.02 * found.loss
        rate = self.course.rate * _shape(s.step / self.steps)
        norm = math.sqrt(sum(float((g**2).sum()) for g in found.gradients.values()))
        factor = min(1.0, CLIP / (norm + EPSILON))
        for name, gradient in found.gradients.items():
            _adam(s, name, gradient * factor, rate, self.course.decay)

    def _save(self) -> None:
        if self.keep is not None:
            save(self.keep, self.standing, self.course)


def _adam(s: Standing, name: str, gradient: Array, rate: float, decay: float) -> None:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
    b1, b2 = BETAS
    first = s.first[name] = b1 * s.first[name] + (1 - b1) * gradient
    second = s.second[name] = b2 * s.second[name] + (1 - b2) * gradient**2
    step = (first / (1 - b1**s.step)) / (np.sqrt(second / (1 - b2**s.step)) + EPSILON)
    s.lora[name] = (s.lora[name] - rate * (step + decay * s.lora[name])).astype(np.float32)


def _shape(done: float) -> float:
    """Of the rate: a rise, then half a cosine."""
    if done < WARM:
        return done / WARM
    turn = 0.5 * (1 + math.cos(math.pi * (done - WARM) / (1 - WARM)))
    return LEAST + (1 - LEAST) * turn


def _order(states: States, course: Course, count: int, epoch: int) -> list[list[int]]:
    """Batches of the first lessons, of like length, in an order of seed, count and epoch alone."""
    rng = np.random.default_rng([course.seed, count, epoch])
    every = rng.permutation(count).tolist()
    size = course.batch
    batches = []
    for k in range(0, len(every), NEAR * size):
        near = sorted(every[k : k + NEAR * size], key=states.length)
        batches += [near[j : j + size] for j in range(0, len(near), size)]
    return [batches[k] for k in rng.permutation(len(batches))]


def begin(model: Model, course: Course) -> Standing:
    """A new adapter, which changes nothing yet."""
    rng: Generator = np.random.default_rng(course.seed)
    lora = fresh(model.facts.shape, course.blocks, course.rank, rng)
    zeros = {name: np.zeros_like(array) for name, array in lora.items()}
    return Standing(0, lora, zeros, {name: array.copy() for name, array in zeros.items()})


def answers(forward: Forward, task: Task, lora: Arrays, states: States) -> Array:
    """Label log-probabilities of every text (texts, labels)."""
    count = len(states.starts) - 1
    order = sorted(range(count), key=states.length)
    found = np.zeros((count, len(task.head)), np.float32)
    for k in range(0, count, 16):
        part = order[k : k + 16]
        hidden, last = states.batch(part)
        found[part] = forward.log_probabilities(lora, task, Batch(hidden, last))
    return found


def save(path: Path, standing: Standing, course: Course) -> None:
    """Raises StorageError."""
    parts = {"lora": standing.lora, "first": standing.first, "second": standing.second}
    arrays: dict[str, Any] = {
        f"{part}.{name}": a for part, group in parts.items() for name, a in group.items()
    }
    said = msgspec.json.encode(
        {"step": standing.step, "loss": standing.loss, "course": asdict(course)}
    )
    try:
        with path.with_suffix(".part").open("wb") as file:
            np.savez(file, said=np.frombuffer(said, np.uint8), **arrays)
        path.with_suffix(".part").replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None


def resume(path: Path, course: Course) -> Standing | None:
    """Where `save` left this very course; None where there is nothing of it."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as held:
        said = msgspec.json.decode(held["said"].tobytes())
        if said["course"] != asdict(course):
            return None
        parts: dict[str, dict[str, Array]] = {"lora": {}, "first": {}, "second": {}}
        for key in held.files:
            part, _, name = key.partition(".")
            if name:
                parts[part][name] = held[key]
    loss = math.nan if said["loss"] is None else float(said["loss"])
    return Standing(int(said["step"]), parts["lora"], parts["first"], parts["second"], loss)
