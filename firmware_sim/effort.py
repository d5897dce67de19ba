"""What a request costs the board that does it: time of one Raspberry Pi 4 core, and memory."""

from edge_client.requests import Assignment, Inspection, Request
from firmware_sim.costs import FORWARD, Costs, adapter_s, circuit_mib, gradient_s
from proto.circuit import Classifier
from proto.codec import decode_sealed, decode_signed
from proto.messages import EVALUATE, MOMENTS, Offer, Task


def work_s(costs: Costs, task: Task, request: Request, rows: int, effort: float = 1.0) -> float:
    """Raspberry Pi 4 core-seconds of a request on so many rows; training counts `effort` times."""
    read = costs.start_s + costs.read_s * rows * max(1, len(task.data.columns))
    if isinstance(request, Inspection):
        return read
    offer = decode_sealed(request.offer)
    assert isinstance(offer, Offer)
    if offer.kind == MOMENTS:
        return read + costs.read_s * rows * len(task.data.columns)
    steps = 0 if offer.kind == EVALUATE else offer.steps
    if not isinstance(task.model, Classifier):
        return read + effort * adapter_s(costs, rows, steps * (task.training.batch or rows))
    return read + effort * (steps + 2 * FORWARD) * gradient_s(costs, task.model, rows)


def memory_mib(costs: Costs, task: Task, rows: int) -> float:
    """What training takes at its peak."""
    if not isinstance(task.model, Classifier):
        return costs.adapter_mib
    return circuit_mib(costs, task.model, rows)


def task_of(request: Request) -> Task:
    """The task a request is about."""
    assert isinstance(request, Assignment | Inspection)
    return decode_signed(request.task, Task)
