"""What a box's part of a training round should cost on the wire, before any was run."""

from coordinator.folding import layout_of, scheme_of
from proto.messages import Task
from quantization.pack import packed_size
from quantization.scheme import EXACT

UP, DOWN = 250, 290
"""Bytes beside the update and beside the model: topics, seals, the report, the offer, acks.

Measured over 15 rounds of 8 boxes, without a journal's lines in the reports.
"""


def bytes_each(task: Task) -> int:
    """Up and down, of one box: its update, and the model of the round before it."""
    layout = layout_of(task)
    return packed_size(layout, scheme_of(task)) + UP + packed_size(layout, EXACT) + DOWN
