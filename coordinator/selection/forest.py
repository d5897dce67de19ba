"""A student of boosted trees, as its file and a job's rules hold it."""

import math
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from coordinator.selection.terms import Terms
from coordinator.selection.weights import MAX_NUMBER, VERSION, Names, Weights

MAX_TREES, MAX_NODES = 400, 64
MAX_VALUE = 1e12

Index = Annotated[int, Meta(ge=-1, lt=MAX_NODES)]


class Tree(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Nodes by number, from 0. A leaf's `column` is -1, and its `value` is what the tree adds."""

    column: Annotated[tuple[Annotated[int, Meta(ge=-1, lt=2048)], ...], Meta(max_length=MAX_NODES)]
    value: Annotated[tuple[float, ...], Meta(max_length=MAX_NODES)]
    """Of an inner node: what is at most this goes left."""
    left: Annotated[tuple[Index, ...], Meta(max_length=MAX_NODES)]
    right: Annotated[tuple[Index, ...], Meta(max_length=MAX_NODES)]
    unknown_left: Annotated[tuple[bool, ...], Meta(max_length=MAX_NODES)]

    def __post_init__(self) -> None:
        count = len(self.column)
        parts = (self.value, self.left, self.right, self.unknown_left)
        if not count or any(len(part) != count for part in parts):
            raise ValueError(
                "a tree's nodes have a column, value, left, right and unknown_left each"
            )
        if not all(math.isfinite(x) and abs(x) <= MAX_VALUE for x in self.value):
            raise ValueError(f"a number is not finite, or beyond {MAX_VALUE:g}")
        for at, column in enumerate(self.column):
            # Children come after their parents: a walk down always ends.
            if column >= 0 and not (at < self.left[at] < count and at < self.right[at] < count):
                raise ValueError("a tree's node has children that do not come after it")

    def of(self, row: Sequence[float | None]) -> float:
        """What this tree adds for a row."""
        at = 0
        while self.column[at] >= 0:
            known = row[self.column[at]]
            low = self.unknown_left[at] if known is None else known <= self.value[at]
            at = self.left[at] if low else self.right[at]
        return self.value[at]


class Trees(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="format",
    tag="qfleet-gbm",
):
    """A student of boosted trees: sigmoid(bias + sum of trees)."""

    version: int
    features: Names
    trees: Annotated[tuple[Tree, ...], Meta(max_length=MAX_TREES)]
    bias: float
    terms: Terms | None = None
    """Columns behind the features."""
    trained_on: Annotated[str, Meta(max_length=200)] = ""

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"not trees of version {VERSION}")
        columns = len(self.features) + (len(self.terms.words) if self.terms else 0)
        if any(column >= columns for tree in self.trees for column in tree.column):
            raise ValueError("a tree asks for a column that is not there")
        if not (math.isfinite(self.bias) and abs(self.bias) <= MAX_NUMBER):
            raise ValueError(f"a number is not finite, or beyond {MAX_NUMBER:g}")


Student = Weights | Trees
"""Any student that is no language model; a file's `format` says which."""
