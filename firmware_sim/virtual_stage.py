"""A script's faults on a virtual fleet: see `director.Stage`. Clients are named by their number."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from edge_client.requests import Result
from firmware_sim.hidden import Fault, FaultName
from firmware_sim.lives import Lives
from firmware_sim.machine import Machine
from firmware_sim.poison import poisoned
from firmware_sim.population import Client
from firmware_sim.results import JOB
from firmware_sim.virtual import VirtualFleet


class VirtualStage:
    """What is done to the fleet, and what its boxes make of their results."""

    def __init__(
        self,
        fleet: VirtualFleet,
        clients: Sequence[Client],
        machines: Mapping[str, Machine],
        lives: Lives,
    ) -> None:
        self._fleet, self._machines, self._lives = fleet, machines, lives
        self._names = {client.number: client.name for client in clients}
        self._poison: dict[str, Any] = {}

    def spoilt(self, box: str, result: Result) -> Result:
        """What a box sends in place of a result; an honest one sends the result."""
        return poisoned(result, self._poison[box]) if box in self._poison else result

    def kill(self, number: int, length: float | None) -> None:
        self._lives.kill(self._names[number], length)

    def cut(self, number: int, length: float) -> None:
        self._lives.cut(self._names[number], length)

    def slow(self, number: int, factor: float, length: float | None) -> None:
        machine = self._machines[self._names[number]]
        machine.slow = factor
        if length is not None:
            self._fleet.clock.after(length, partial(setattr, machine, "slow", 1.0))

    def poison(self, number: int, what: str) -> None:
        self._poison[self._names[number]] = what

    def ail(self, number: int, fault: FaultName) -> None:
        name, now = self._names[number], self._fleet.clock.now
        self._machines[name].ail(Fault(fault, now), now)
        self._lives.foresee(name)

    def broker_down(self, length: float, *, lose_state: bool) -> None:
        broker = self._fleet.broker
        broker.stop()
        self._fleet.clock.after(length, partial(broker.start, lose_state=lose_state))

    def kill_coordinator(self, length: float) -> None:
        self._fleet.kill_coordinator()
        self._fleet.clock.after(length, self._wake_coordinator)

    def _wake_coordinator(self) -> None:
        self._fleet.start_coordinator()

    def box_states(self, number: int) -> tuple[str, ...]:
        box = self._fleet.boxes.get(self._names[number])
        return (box.state.link.value, box.state.work.value) if box else ()

    def round_state(self) -> tuple[str, int]:
        state = self._fleet.store.job(JOB).value
        return state.phase.value, state.round
