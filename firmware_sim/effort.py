"""What work costs a board: seconds of one Raspberry Pi 4 core, and memory.

The figures are those of this engine, measured once; a Raspberry Pi 4's core was taken as a quarter
of the x86-64 core they were measured on (docs/fleets.md tells how).
"""

from edge_client.requests import Assignment, Inspection, Request
from proto.circuit import Classifier
from proto.codec import decode_sealed, decode_signed
from proto.messages import EVALUATE, MOMENTS, Offer, Task

START_S = 1.2
"""The training process starts, and loads NumPy."""
ROW_S = 4e-6
"""Reading one row from the file and putting it through the feature map."""
GATE_S = 12e-6
"""One gate, forwards or backwards, whatever the number of rows ..."""
AMPLITUDE_S = 6e-9
"""... and for each amplitude of each row."""
BASE_MIB = 45
"""The training process with NumPy loaded."""
PASSES = 4
"""A gradient walks forward once, and back over two states with a slope each."""


def work_s(task: Task, request: Request, rows: int) -> float:
    """Raspberry Pi 4 core-seconds of a request on so many rows."""
    read = START_S + ROW_S * rows * max(1, len(task.data.columns))
    if isinstance(request, Inspection):
        return read
    offer = decode_sealed(request.offer)
    assert isinstance(offer, Offer)
    if offer.kind == MOMENTS:
        return read + ROW_S * rows * len(task.data.columns)
    once = _pass_s(task, rows)
    if offer.kind == EVALUATE:
        return read + once
    return read + 2 * once + offer.steps * PASSES * once


def memory_mib(task: Task, rows: int) -> float:
    """What training takes at its peak."""
    if not isinstance(task.model, Classifier):
        return 350.0
    states = rows * 16 * 2**task.model.circuit.qubits
    return BASE_MIB + 4 * states / 2**20


def _pass_s(task: Task, rows: int) -> float:
    if not isinstance(task.model, Classifier):
        return 0.5 * rows  # an adapter's forward pass of a row; never run in here, only costed
    gates = len(task.model.circuit.gates)
    return gates * (GATE_S + AMPLITUDE_S * rows * 2**task.model.circuit.qubits)


def task_of(request: Request) -> Task:
    """The task a request is about."""
    assert isinstance(request, Assignment | Inspection)
    return decode_signed(request.task, Task)
