"""What a request costs the board that carries it out: Raspberry Pi 4 core-seconds, and memory."""

from typing import NamedTuple

from edge_client.requests import Assignment, Inspection, Request
from firmware_sim.costs import FORWARD, Costs, adapter_s, circuit_mib, gradient_s
from proto.circuit import Classifier
from proto.codec import decode_signed
from proto.messages import EVALUATE, MOMENTS, Task

ADAPTER_BATCH = 8
"""Rows of an adapter's step where the task does not say."""


class Manner(NamedTuple):
    """What a scenario wants training to cost."""

    effort: float = 1.0
    """So many times what it would."""
    adapter: bool = False
    """As if an adapter were trained on texts, one a row."""
    read: bool = False
    """The trunk has read these rows before, and its states are on the box's disk."""


PLAIN = Manner()


def work_s(costs: Costs, task: Task, request: Request, rows: int, manner: Manner = PLAIN) -> float:
    """Raspberry Pi 4 core-seconds of a request on so many rows."""
    read = costs.start_s + costs.read_s * rows * max(1, len(task.data.columns))
    if isinstance(request, Inspection):
        return read
    offer = request.offer
    if offer.kind == MOMENTS:
        return read + costs.read_s * rows * len(task.data.columns)
    steps = 0 if offer.kind == EVALUATE else offer.steps
    return training_s(costs, task, steps, rows, manner)


def training_s(costs: Costs, task: Task, steps: int, rows: int, manner: Manner = PLAIN) -> float:
    """So many steps on so many rows, reading them included; no step is an evaluation."""
    read = costs.start_s + costs.read_s * rows * max(1, len(task.data.columns))
    if manner.adapter or not isinstance(task.model, Classifier):
        trained = steps * min(rows, task.training.batch or ADAPTER_BATCH)
        seconds = adapter_s(costs, 0 if manner.read else rows, trained + FORWARD * rows)
    else:
        seconds = (steps + 2 * FORWARD) * gradient_s(costs, task.model, rows)
    return read + manner.effort * seconds


def memory_mib(costs: Costs, task: Task, rows: int, manner: Manner = PLAIN) -> float:
    """What training takes at its peak."""
    if manner.adapter or not isinstance(task.model, Classifier):
        return costs.adapter_mib
    return circuit_mib(costs, task.model, rows)


def task_of(request: Request) -> Task:
    """The task a request is about."""
    assert isinstance(request, Assignment | Inspection)
    return decode_signed(request.task, Task)
