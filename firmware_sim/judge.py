"""The harness's judgement: accuracy on rows no box ever held, beside honest baselines."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.store import Store
from edge_client.circuit.backends.chosen import circuit_of
from edge_client.circuit.classifier import classifier_model
from edge_client.dataset import Table, encode
from edge_client.kinds import features_of
from edge_client.train import evaluate
from firmware_sim.splits import Split
from proto.codec import decode_signed
from proto.errors import ConfigError
from proto.messages import Task
from proto.models import model_layout
from quantization.pack import unpack
from quantization.scheme import EXACT


@dataclass(frozen=True, slots=True)
class Verdict:
    """Accuracies on the untouched test rows."""

    by_round: tuple[float, ...]
    """Of each round's model, the first before any training."""
    worst_decile: float
    """Of the last model: the tenth part of boxes it serves worst, each on its own test rows."""
    pooled: float
    """Logistic regression on the same features, fitted on all boxes' rows together."""


def judge(store: Store, job: str, table: Table, split: Split) -> Verdict:
    """Raises ConfigError for a job without a trained model."""
    row, features = store.job(job), store.model(job, "features")
    models = store.model_history(job)
    if row is None:
        raise ConfigError(f"no job {job!r}")
    if len(models) < 2:  # noqa: PLR2004 - the first is there before any training
        raise ConfigError(f"job {job!r} ended before any round of training did")
    task = decode_signed(row.task, Task)
    z = features_of(task, table.X, features.data if features else b"")
    y = encode(table.labels, task.data.classes)
    test = np.concatenate(split.test)
    model, layout = classifier_model(circuit_of(task)), model_layout(task.model)
    arrays = [unpack(m.data, layout, EXACT) for m in models]
    by_round = tuple(evaluate(model, a, z[test], y[test]).accuracy for a in arrays)
    served = [evaluate(model, arrays[-1], z[r], y[r]).accuracy for r in split.test if len(r)]
    train = np.concatenate(split.boxes)
    return Verdict(by_round, worst_decile(served), _logistic(z, y, train, test))


def worst_decile(accuracies: list[float]) -> float:
    """Mean of the lowest tenth, at least one."""
    return float(np.mean(sorted(accuracies)[: max(1, len(accuracies) // 10)]))


def _logistic(
    z: NDArray[np.float32],
    y: NDArray[np.int64],
    train: NDArray[np.intp],
    test: NDArray[np.intp],
) -> float:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - heavy

    fitted = LogisticRegression(max_iter=1000).fit(z[train], y[train])
    return float(fitted.score(z[test], y[test]))
