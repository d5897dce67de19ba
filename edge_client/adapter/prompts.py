"""Rows to the tokens of their prompts."""

from collections.abc import Callable

import numpy as np

from edge_client.dataset import Table
from edge_client.model import Features
from proto.adapter import SLOT, Adapter
from proto.errors import LocalError

PAD = -1
"""Behind a prompt's last token."""

Encode = Callable[[str], list[int]]


def token_rows(adapter: Adapter, begin: list[int], encode: Encode, table: Table) -> Features:
    """Prompts (rows, longest), int32, with PAD behind their ends.

    The text is cut where the prompt would be too long, the words round it never. Raises LocalError
    where they alone are too long.
    """
    if len(table.texts) != len(table.X):
        raise LocalError("the rows have no text")
    parts = [
        _row(adapter, begin, encode, text, dict(zip(table.columns, numbers, strict=True)))
        for text, numbers in zip(table.texts, table.X.tolist(), strict=True)
    ]
    longest = max(map(len, parts), default=0)
    ids = np.full((len(parts), longest), PAD, np.int32)
    for line, part in zip(ids, parts, strict=True):
        line[: len(part)] = part
    return ids


def lists(ids: Features) -> list[list[int]]:
    """Each row's tokens without what pads them."""
    return [line[line != PAD].tolist() for line in ids]


def _row(
    adapter: Adapter, begin: list[int], encode: Encode, text: str, numbers: dict[str, float]
) -> list[int]:
    before, _, after = adapter.prompt.partition(SLOT)
    for name, number in numbers.items():
        before, after = (each.replace(f"{{{name}}}", f"{number:g}") for each in (before, after))
    first, last = [*begin, *encode(before)], encode(after)
    room = adapter.tokens - len(first) - len(last)
    if room < 1:
        words = len(first) + len(last)
        raise LocalError(f"the prompt's own words take {words} tokens of {adapter.tokens}")
    return [*first, *encode(text)[:room], *last]
