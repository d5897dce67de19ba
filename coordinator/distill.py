"""Students made of a teacher's decisions. `linear` needs NumPy alone."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.decisionsfile import read_decisions
from coordinator.selection.examples import Decision
from coordinator.selection.features import FEATURES, scaled
from coordinator.selection.terms import text_of
from coordinator.selection.weights import VERSION, Head, Weights
from coordinator.weightsfile import write_weights
from proto.errors import ConfigError

Floats = NDArray[np.float64]

RIDGE = 1.0
"""Prior precision of each weight, in rows: keeps weights finite where a feature decides all."""
ROUNDS = 100
CLOSE = 1e-9
HELD_OUT = 5
"""One fleet in so many is kept back, to tell how the student does where it was not trained."""


@dataclass(frozen=True, eq=False, slots=True)
class Examples:
    """Boxes by rows: values (boxes, features) with NaN for unknown, targets (boxes,)."""

    values: Floats
    join: Floats
    decisions: int
    fleets: int
    texts: tuple[str, ...] = ()
    """What each says."""


def distill_linear(source: Path, target: Path) -> dict[str, Any]:
    """Train on a decisions.jsonl, write the student; its figures. Raises ConfigError."""
    header, decisions = read_decisions(source)
    train, held = split(decisions)
    if not len(train.join):
        raise ConfigError(f"{source} holds no decision of a fleet to train on")
    weights = fit(train, f"{header.teacher}: {train.decisions} decisions of {train.fleets} fleets")
    write_weights(target, weights)
    found = figures(train, held, lambda part: loss(weights, part))
    return {
        "student": "linear",
        "file": str(target),
        "teacher": header.teacher,
        **found,
        "weights": dict(zip(weights.features, weights.join.weights, strict=True)),
    }


def figures(train: Examples, held: Examples, of: Callable[[Examples], float]) -> dict[str, Any]:
    """How well a student does, by its loss, where it was trained and where it was not."""
    if not len(held.join):
        there = None
    else:
        constant = entropy(held.join, np.full(len(held.join), train.join.mean()))
        there = {
            "fleets": held.fleets,
            "boxes": len(held.join),
            "loss": of(held),
            "loss_of_a_constant": constant,
        }
    return {
        "decisions": train.decisions,
        "fleets": train.fleets,
        "boxes": len(train.join),
        "loss": of(train),
        "held_out": there,
    }


def fit(examples: Examples, trained_on: str = "") -> Weights:
    """A logistic regression on soft targets by Newton's method; a convex problem, so no seed."""
    known = ~np.isnan(examples.values)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, examples.values, 0.0).sum(axis=0) / counts
    centred = np.where(known, examples.values - mean, 0.0)
    scale = np.sqrt((centred**2).sum(axis=0) / counts)
    scale = np.where(scale > CLOSE, scale, 1.0)
    X = np.clip(centred / scale, -6, 6)
    X = np.hstack([X, np.ones((len(X), 1))])
    ridge = np.full(X.shape[1], RIDGE)
    ridge[-1] = CLOSE
    found = _newton(X, examples.join, ridge)
    return Weights(
        version=VERSION,
        features=FEATURES,
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        join=Head(weights=tuple(found[:-1].tolist()), bias=float(found[-1])),
        trained_on=trained_on[:200],
    )


def _newton(X: Floats, y: Floats, ridge: Floats) -> Floats:
    w = np.zeros(X.shape[1])
    for _ in range(ROUNDS):
        p = _sigmoid(X @ w)
        gradient = X.T @ (p - y) + ridge * w
        hessian = (X * (p * (1 - p))[:, None]).T @ X + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        # A full step may overshoot where all is certain; the loss is convex, so halves will do.
        w = w - step * min(1.0, 5.0 / max(CLOSE, float(np.abs(step).max())))
        if np.abs(step).max() < CLOSE:
            break
    return w


def loss(weights: Weights, examples: Examples) -> float:
    """Mean cross-entropy against the teacher's soft targets, in nats."""
    mean, scale = np.array(weights.mean), np.array(weights.scale)
    X = np.clip(np.nan_to_num((examples.values - mean) / scale), -6, 6)
    return entropy(examples.join, _sigmoid(X @ np.array(weights.join.weights) + weights.join.bias))


def entropy(y: Floats, p: Floats) -> float:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())


def _sigmoid(x: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    return result


def split(decisions: Iterable[Decision]) -> tuple[Examples, Examples]:
    """For training and held out, whole fleets each, by their names alone."""
    parts: tuple[list[Decision], list[Decision]] = ([], [])
    for decision in decisions:
        digest = hashlib.sha256(decision.fleet.encode()).digest()
        parts[digest[0] % HELD_OUT == 0].append(decision)
    return examples_of(parts[0]), examples_of(parts[1])


def examples_of(decisions: Iterable[Decision]) -> Examples:
    """All boxes of all decisions; a feature this release does not know is left out."""
    values, join, texts, fleets, count = [], [], [], set(), 0
    for decision in decisions:
        count += 1
        fleets.add(decision.fleet)
        for client in decision.clients:
            values.append(_row(client.features))
            join.append(client.join)
            texts.append(text_of(client.note, client.journal))
    table = np.array(values, np.float64).reshape(-1, len(FEATURES))
    return Examples(table, np.array(join, np.float64), count, len(fleets), tuple(texts))


def _row(features: Mapping[str, float | None]) -> list[float]:
    row = (scaled(name, features.get(name)) for name in FEATURES)
    return [np.nan if value is None else value for value in row]
