"""What the agent asks of its training process, and what comes back: values only."""

from typing import Protocol

from msgspec import Struct

from edge_client.config import Adapter, Data, Quantum
from proto.messages import Offer, Update


class Inspection(Struct, frozen=True, tag=True, gc=False):
    """Which of the box's rows fit this task? `task` is the task's encoded body."""

    task: bytes
    data: Data
    adapter: Adapter = Adapter()


class Assignment(Struct, frozen=True, tag=True, gc=False):
    """Do what this offer asks, with the model and features it names."""

    box: str
    id: bytes
    task: bytes
    offer: Offer
    model: bytes
    features: bytes
    data: Data
    quantum: Quantum = Quantum()
    home: str = ""
    """The box's folder, where jobs in progress are kept; empty keeps nothing."""
    adapter: Adapter = Adapter()


class Finding(Struct, frozen=True, tag=True, gc=False):
    """Answer to an inspection. `reason` may leave the box, `detail` is for its own log."""

    task: bytes
    rows: int
    reason: str = ""
    detail: str = ""


class Done(Struct, frozen=True, tag=True, gc=False):
    turn: int
    update: Update


class Broken(Struct, frozen=True, tag=True, gc=False):
    """The assignment failed. `reason` may leave the box, `detail` is for its own log."""

    turn: int
    reason: str
    detail: str = ""


Request = Inspection | Assignment
Result = Finding | Done | Broken


class Labour(Protocol):
    """Where training happens: a child process, or at once in the emulator."""

    def submit(self, request: Request) -> None: ...
    def cancel(self) -> None: ...
