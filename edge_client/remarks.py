"""What a box's own log says of rows that teach little. Nothing of it leaves the box."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_client.model import Labels
from proto.errors import ConfigError, LocalError
from proto.messages import Task


def remarks(task: Task, X: NDArray[np.float64], y: Labels) -> str:
    """On constant columns and rows of one class; empty where there is nothing to say.

    Both are common where a fleet's rows lie unevenly, and the fleet learns from such a box. Raises
    LocalError where a head of the box's own would have one class to learn from, and ConfigError
    for either where the task wants varied rows.
    """
    said = []
    if constant := _constant(X, task.data.columns):
        said.append(
            f"the same in all {len(X)} rows: {_listed(constant)}. If it is so on every box, leave "
            "them out of data.columns: they say nothing"
        )
    if len(set(y.tolist())) == 1:
        if task.training.personal_head:
            raise LocalError(
                "its rows are all of one class, from which a head of its own learns nothing: add "
                "rows of another class, or leave training.personal_head out"
            )
        said.append(
            f"all {len(y)} rows are of class {task.data.classes[y[0]]!r}: this box alone cannot "
            "tell classes apart, add rows of another"
        )
    if said and task.data.varied:
        raise ConfigError(f"{'; '.join(said)}. A task without data.varied takes such rows")
    return "; ".join(said)


def _constant(X: NDArray[np.float64], columns: Sequence[str]) -> list[str]:
    same = (X[0] == X).all(axis=0)
    return [name for name, constant in zip(columns, same.tolist(), strict=True) if constant]


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
