"""Students made of a teacher's decisions. `linear` needs NumPy alone."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.decisionsfile import read_all
from coordinator.selection.examples import STEP_CLASSES, Client, Decision
from coordinator.selection.features import BESIDE, Features, beside
from coordinator.selection.linear import MOST
from coordinator.selection.terms import text_of
from coordinator.selection.weights import VERSION, Head, Weights
from coordinator.weightsfile import write_weights
from proto.errors import ConfigError

Floats = NDArray[np.float64]

RIDGE = 3.0
"""Prior precision of each weight, in rows: keeps weights finite where a feature decides all."""
RIDGE_OF_AIMS = 30.0
"""Of what a price adds to it: there are few different objectives."""
PRICED = tuple(
    f"{name}_beside"
    for name in ("ram_free_mib", "disk_free_mib", "link_kbps", "time_ratio", "asked")
)
"""What time, energy, traffic and fairness may hang on: board, link, pace, and turns taken."""
ROUNDS = 100
CLOSE = 1e-9
NO_STEPS = (0.0,) * STEP_CLASSES
HELD_OUT = 5
"""One fleet in so many is kept back, to tell how the student does where it was not trained."""


@dataclass(frozen=True, eq=False, slots=True)
class Examples:
    """Boxes by rows: values (boxes, BESIDE) with NaN for unknown, targets (boxes,)."""

    values: Floats
    wanted: Floats
    decisions: int
    fleets: int
    texts: tuple[str, ...] = ()
    """What each says."""
    prices: tuple[dict[str, float], ...] = ()
    """What its owner's objective is worth; empty where nobody said."""
    steps: Floats | None = None
    """How often each class of steps was best (boxes, classes)."""


def distill_linear(sources: Sequence[Path], target: Path) -> dict[str, Any]:
    """Train on teachers' decisions, write the student; its figures. Raises ConfigError."""
    header, decisions = read_all(sources)
    train, held = split(decisions)
    if not len(train.wanted):
        raise ConfigError(f"{sources[0]} holds no decision of a fleet to train on")
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
    if not len(held.wanted):
        there = None
    else:
        constant = entropy(held.wanted, np.full(len(held.wanted), train.wanted.mean()))
        there = {
            "fleets": held.fleets,
            "boxes": len(held.wanted),
            "loss": of(held),
            "loss_of_a_constant": constant,
        }
    return {
        "decisions": train.decisions,
        "fleets": train.fleets,
        "boxes": len(train.wanted),
        "loss": of(train),
        "held_out": there,
    }


def fit(examples: Examples, trained_on: str = "", *, aims: bool = False) -> Weights:
    """A logistic regression on soft targets by Newton's method; a convex problem, so no seed.

    With `aims` the owner's prices shift its weights, and steps are taught; else it sees neither.
    """
    X, mean, scale = _standard(examples.values)
    usual = _usual(examples) if aims else {}
    priced = [BESIDE.index(name) for name in PRICED]
    shifts = [X[:, priced] * _beyond(examples, name, part) for name, part in usual.items()]
    found = newton(
        np.hstack([X, *shifts]),
        examples.wanted,
        np.repeat([RIDGE, RIDGE_OF_AIMS], [len(BESIDE), len(priced) * len(usual)]),
    )
    by_price = found[len(BESIDE) : -1].reshape(len(usual), len(priced))
    return Weights(
        version=VERSION,
        features=BESIDE,
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        join=Head(weights=tuple(found[: len(BESIDE)].tolist()), bias=float(found[-1])),
        aims={name: _spread(row, priced) for name, row in zip(usual, by_price, strict=True)},
        usual=usual,
        steps=_paces(X, examples.steps) if aims else (),
        trained_on=trained_on[:200],
    )


def regression(names: Sequence[str], values: Floats, y: Floats, trained_on: str) -> Weights:
    """A logistic regression on any columns (rows, names), NaN for unknown, with soft targets y."""
    X, mean, scale = _standard(values)
    found = newton(X, y, np.full(len(names), RIDGE))
    return Weights(
        version=VERSION,
        features=tuple(names),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        join=Head(weights=tuple(found[:-1].tolist()), bias=float(found[-1])),
        trained_on=trained_on[:200],
    )


def _standard(own: Floats) -> tuple[Floats, Floats, Floats]:
    """Columns with mean 0 and variance 1, 0 for unknown; their means and their scales."""
    known = ~np.isnan(own)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, own, 0.0).sum(axis=0) / counts
    centred = np.where(known, own - mean, 0.0)
    scale = np.sqrt((centred**2).sum(axis=0) / counts)
    scale = np.where(scale > CLOSE, scale, 1.0)
    return np.clip(centred / scale, -MOST, MOST), mean, scale


def _usual(examples: Examples) -> dict[str, float]:
    """What things are worth to all owners on average."""
    told = [prices for prices in examples.prices if prices]
    names = sorted({name for prices in told for name in prices})
    return {n: sum(prices.get(n, 0.0) for prices in told) / len(told) for n in names}


def _beyond(examples: Examples, name: str, usual: float) -> Floats:
    """(boxes, 1): how much more its owner pays for this than usual."""
    rows = [prices.get(name, 0.0) - usual if prices else 0.0 for prices in examples.prices]
    return np.array(rows, np.float64)[:, None]


def _spread(row: Floats, places: Sequence[int]) -> tuple[float, ...]:
    whole = np.zeros(len(BESIDE))
    whole[list(places)] = row
    return tuple(whole.tolist())


def _paces(X: Floats, steps: Floats | None) -> tuple[Head, ...]:
    """For each class of steps a regression of its own; none where no teacher named any."""
    if steps is None:
        return ()
    told = steps.sum(axis=1) > 0
    shares = steps[told] / steps[told].sum(axis=1, keepdims=True)
    found = [newton(X[told], share, np.full(X.shape[1], RIDGE)) for share in shares.T]
    return tuple(Head(weights=tuple(w[:-1].tolist()), bias=float(w[-1])) for w in found)


def newton(X: Floats, y: Floats, ridge: Floats) -> Floats:
    """Weights, the bias last, which no ridge holds back."""
    X, ridge = np.hstack([X, np.ones((len(X), 1))]), np.append(ridge, CLOSE)
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
    """Mean cross-entropy against the teacher's soft targets, in nats; no aim is told."""
    mean, scale = np.array(weights.mean), np.array(weights.scale)
    X = np.clip(np.nan_to_num((examples.values - mean) / scale), -MOST, MOST)
    return entropy(
        examples.wanted, _sigmoid(X @ np.array(weights.join.weights) + weights.join.bias)
    )


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
    values, wanted, texts, prices, steps = [], [], [], [], []
    fleets, count = set(), 0
    for decision in decisions:
        count += 1
        fleets.add(decision.fleet)
        values += [_row(told) for told in beside([c.features for c in decision.clients])]
        for client in decision.clients:
            wanted.append(wanted_of(client))
            texts.append(text_of(client.note, client.journal))
            prices.append(decision.prices)
            steps.append(client.steps if len(client.steps) == STEP_CLASSES else NO_STEPS)
    table = np.array(values, np.float64).reshape(-1, len(BESIDE))  # None becomes NaN
    told = np.array(steps, np.float64).reshape(-1, STEP_CLASSES)
    return Examples(
        table,
        np.array(wanted, np.float64),
        count,
        len(fleets),
        tuple(texts),
        tuple(prices),
        told if told.any() else None,
    )


def wanted_of(client: Client) -> float:
    """How good it is to ask a box: its worth alone where the teacher told it, else its choice.

    A choice depends on what a box's rows would teach, which nobody can see: on training fleets,
    students of the worth reach a target sooner and with less energy (docs/adr/0020).
    """
    return client.join if client.worth is None else client.worth


def _row(told: Features) -> list[float | None]:
    return [told.get(name) for name in BESIDE]
