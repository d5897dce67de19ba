"""The student `gbm` made of a teacher's decisions: gradient boosting of the logistic loss.

Friedman 2001, "Greedy function approximation: a gradient boosting machine". Single trees are
scikit-learn's; what is kept of them is a list of plain numbers, so that a coordinator needs none of
it to plan.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.decisionsfile import read_all
from coordinator.distill import Examples, Floats, entropy, figures, split
from coordinator.selection.features import BESIDE
from coordinator.selection.forest import MAX_VALUE, Tree, Trees
from coordinator.selection.terms import Terms, counts, values
from coordinator.selection.weights import VERSION
from coordinator.weightsfile import write_weights
from proto.errors import ConfigError

ROUNDS, RATE, DEPTH, LEAST = 120, 0.1, 4, 20
"""Trees, the share of each that counts, their depth, boxes in a leaf at least."""
TERMS, RARE = 300, 8
"""Terms that are kept, and boxes that must have said one."""
CLOSE = 1e-6


def distill_trees(sources: Sequence[Path], target: Path, *, words: bool) -> dict[str, Any]:
    """Train on teachers' decisions, write the student; its figures. Raises ConfigError."""
    header, decisions = read_all(sources)
    train, held = split(decisions)
    if not len(train.wanted):
        raise ConfigError(f"{sources[0]} holds no decision of a fleet to train on")
    terms = terms_of(train) if words else None
    name = f"{header.teacher}: {train.decisions} decisions of {train.fleets} fleets"
    student = grown(train, terms, name)
    write_weights(target, student)
    found = figures(train, held, lambda part: entropy(part.wanted, chances(student, part)))
    return {
        "student": "gbm",
        "file": str(target),
        "teacher": header.teacher,
        **found,
        "weights": _used(student),
    }


def grown(examples: Examples, terms: Terms | None, trained_on: str = "") -> Trees:
    """Boosted trees on soft targets; no chance. Raises ConfigError without scikit-learn."""
    bias, trees = boosted(table_of(examples, terms), examples.wanted)
    return Trees(
        version=VERSION,
        features=BESIDE,
        trees=tuple(trees),
        bias=bias,
        terms=terms,
        trained_on=trained_on[:200],
    )


def boosted(X: Floats, y: Floats) -> tuple[float, list[Tree]]:
    """A bias and what each tree adds, of columns X (boxes, columns) and soft targets y (boxes,)."""
    try:
        from sklearn.tree import DecisionTreeRegressor  # noqa: PLC0415 - an extra, heavy
    except ImportError:
        text = "gbm is trained by scikit-learn: pip install scikit-learn (extra demo)"
        raise ConfigError(text) from None
    mean = float(np.clip(y.mean(), CLOSE, 1 - CLOSE))
    bias = math.log(mean / (1 - mean))
    total, trees = np.full(len(y), bias), []
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-total))
        model = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=LEAST, random_state=0)
        model.fit(X, y - chance)
        leaves = model.apply(X)
        tree = _tree(model.tree_, _steps(leaves, y - chance, chance * (1 - chance)))
        trees.append(tree)
        total += np.array(tree.value)[leaves]
    return bias, trees


def terms_of(examples: Examples) -> Terms:
    """The terms that go most with the targets, rare ones aside, and how rare each is."""
    seen = [counts(text) for text in examples.texts]
    often = Counter(term for each in seen for term in each)
    known = sorted(term for term, number in often.items() if number >= RARE)
    place = {term: at for at, term in enumerate(known)}
    has = np.zeros((len(seen), len(known)), bool)
    for row, each in enumerate(seen):
        has[row, [place[term] for term in each if term in place]] = True
    off = examples.wanted - examples.wanted.mean()
    spread = np.sqrt(has.mean(axis=0) * (1 - has.mean(axis=0))) + CLOSE
    strength = np.abs((has * off[:, None]).mean(axis=0)) / spread
    kept = sorted(known[at] for at in np.argsort(-strength, kind="stable")[:TERMS])
    idf = [math.log((1 + len(seen)) / (1 + often[term])) + 1 for term in kept]
    return Terms(words=tuple(kept), idf=tuple(round(x, 4) for x in idf))


def table_of(examples: Examples, terms: Terms | None) -> Floats:
    """(boxes, columns): features in their own units with NaN for unknown, then terms."""
    if terms is None:
        return examples.values
    words = np.array([values(terms, text) for text in examples.texts])
    return np.hstack([examples.values, words])


def chances(student: Trees, examples: Examples) -> Floats:
    """The student's answer to each example."""
    X = table_of(examples, student.terms)
    rows = [[None if math.isnan(x) else x for x in row] for row in X.tolist()]
    total = [student.bias + sum(tree.of(row) for tree in student.trees) for row in rows]
    return np.asarray(1 / (1 + np.exp(-np.array(total))), np.float64)


def _steps(leaves: Floats, gradient: Floats, curvature: Floats) -> dict[int, float]:
    """Newton's step of each leaf, shortened."""
    found = {}
    for leaf in np.unique(leaves):
        here = leaves == leaf
        step = gradient[here].sum() / (curvature[here].sum() + 1.0)
        found[int(leaf)] = RATE * float(np.clip(step, -4, 4))
    return found


def _tree(made: Any, steps: dict[int, float]) -> Tree:
    inner = made.children_left >= 0
    number = range(made.node_count)
    return Tree(
        column=tuple(int(made.feature[at]) if inner[at] else -1 for at in number),
        value=tuple(
            float(np.clip(made.threshold[at], -MAX_VALUE, MAX_VALUE))  # inf parts the unknown
            if inner[at]
            else steps.get(at, 0.0)
            for at in number
        ),
        left=tuple(map(int, made.children_left)),
        right=tuple(map(int, made.children_right)),
        unknown_left=tuple(bool(x) for x in made.missing_go_to_left),
    )


def _used(student: Trees) -> dict[str, float]:
    """How often each column parts boxes: what goes for weights here."""
    names: Sequence[str] = (*student.features, *(student.terms.words if student.terms else ()))
    often = Counter(
        names[column] for tree in student.trees for column in tree.column if column >= 0
    )
    return {name: float(number) for name, number in often.most_common(40)}
