"""Both trainings of the adapter benchmark: the same adapters, rows, order and steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from adapter_rows import TESTED, TRAINED, label_tokens, rows

from edge_client.optimisers.gradients import adamw_method
from edge_client.optimisers.method import Plan
from quantization.adapters.lora import LORA, Q_B, V_B, fresh
from quantization.arrays import Array
from quantization.runtime.model import Model
from quantization.runtime.sessions import (
    Batch,
    Forward,
    Task,
    Trainer,
    hidden_states,
    open_forward,
    open_trainer,
    padded,
)

BLOCKS, RANK, ALPHA = 6, 8, 16.0
BATCH = 8
STEPS, RATE, WARMUP, SEEDS = 40, 3e-3, 10, 5
Rows = tuple[Array, np.ndarray, np.ndarray]
"""Hidden states, last tokens, labels."""


def states(model: Model, first: int, count: int) -> Rows:
    """The trunk's states of the generated rows."""
    texts, labels = rows(first, count)
    ids, last = padded([model.tokens.encode(text) for text in texts])
    batches = [ids[at : at + BATCH] for at in range(0, count, BATCH)]
    hidden = np.concatenate(list(hidden_states(model, BLOCKS, batches)))
    return hidden.astype(np.float16).astype(np.float32), last, np.array(labels)


def batch_of(data: Rows, index: np.ndarray) -> Batch:
    hidden, last, labels = data
    return Batch(hidden[index], last[index], np.eye(2, dtype=np.float32)[labels[index]])


def orders(seed: int, count: int) -> np.ndarray:
    """The rows of each step (steps, batch), each seen once before any is seen again."""
    rng = np.random.default_rng([seed, 1])
    epochs = -(-STEPS * BATCH // count)
    return np.concatenate([rng.permutation(count) for _ in range(epochs)])[: STEPS * BATCH].reshape(
        STEPS, BATCH
    )


class _Rows:
    """One step's rows, as the optimiser asks for them."""

    exact = LORA

    def __init__(self, trainer: Trainer, task: Task, batch: Batch) -> None:
        self.trainer, self.task, self.batch = trainer, task, batch

    def gradient(self, arrays: Any) -> tuple[float, dict[str, Array]]:
        step = self.trainer.step(arrays, self.task, self.batch)
        return step.loss, step.gradients


def train_ours(trainer: Trainer, task: Task, data: Rows, lora: Any, seed: int) -> Any:
    """The adapter after all steps."""
    plan = Plan(RATE, STEPS, seed, WARMUP, 0.0)
    batches = (batch_of(data, index) for index in orders(seed, len(data[0])))
    steps = adamw_method(plan)(lora, (_Rows(trainer, task, batch) for batch in batches))  # type: ignore[arg-type,misc]
    for step in steps:
        lora = step.arrays
    return lora


def accuracy_ours(forward: Forward, task: Task, data: Rows, lora: Any) -> float:
    right = 0
    for at in range(0, len(data[0]), BATCH):
        index = np.arange(at, min(at + BATCH, len(data[0])))
        batch = batch_of(data, index)
        right += int(
            (forward.log_probabilities(lora, task, batch).argmax(1) == data[2][index]).sum()
        )
    return right / len(data[0])


def drawn(model: Model, seed: int, spread: float = 0.0) -> dict[str, Array]:
    """A fresh adapter; with a spread, B is not zero either."""
    rng = np.random.default_rng(seed)
    lora = fresh(model.facts.shape, BLOCKS, RANK, rng)
    if spread:
        for name in (Q_B, V_B):
            lora[name] = (spread * rng.standard_normal(lora[name].shape)).astype(np.float32)
    return lora


@dataclass(frozen=True, slots=True)
class Lessons:
    """Rows to train on and rows to judge by, and both engines: the same for every seed."""

    model: Model
    data: Rows
    test: Rows
    task: Task
    trainer: Trainer
    forward: Forward
    peer: Any


def lessons(model: Model) -> Lessons:
    from adapter_peer import Peer

    return Lessons(
        model,
        states(model, 0, TRAINED),
        states(model, TRAINED, TESTED),
        Task(model.head(label_tokens(model)), ALPHA / RANK),
        open_trainer(model, BLOCKS),
        open_forward(model, BLOCKS),
        Peer(model, BLOCKS, RANK, ALPHA),
    )


def accuracies(known: Lessons, seed: int) -> dict[str, float]:
    """After the same steps from the same adapter on the same rows; and before any step."""
    task, data, test = known.task, known.data, known.test
    lora = drawn(known.model, seed)
    trained = train_ours(known.trainer, task, data, lora, seed)
    batches = [batch_of(data, index) for index in orders(seed, len(data[0]))]
    known.peer.load(lora)
    known.peer.train(task.head, batches, (RATE, WARMUP))
    return {
        "accuracy": accuracy_ours(known.forward, task, test, trained),
        "accuracy_peft": known.peer.accuracy(task.head, test, BATCH),
        "accuracy_untrained": accuracy_ours(known.forward, task, test, lora),
    }
