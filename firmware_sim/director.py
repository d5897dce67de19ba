"""Carries out a scenario's script on a running fleet."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from coordinator.jobstate import Event as RoundEvent
from coordinator.taskfile import seconds
from edge_client.state import Event as BoxEvent
from firmware_sim.chance import seed_of, uniform
from firmware_sim.clock import Clock
from firmware_sim.hidden import FaultName
from firmware_sim.population import Client
from firmware_sim.script import (
    Ail,
    BrokerDown,
    Cut,
    Entry,
    Kill,
    KillCoordinator,
    Poison,
    Slow,
    moment_s,
)


class Stage(Protocol):
    """What a script may do to a fleet; clients are named by their number."""

    def kill(self, number: int, length: float | None) -> None: ...
    def cut(self, number: int, length: float) -> None: ...
    def slow(self, number: int, factor: float, length: float | None) -> None: ...
    def poison(self, number: int, what: str) -> None: ...
    def ail(self, number: int, fault: FaultName) -> None: ...
    def broker_down(self, length: float, *, lose_state: bool) -> None: ...
    def kill_coordinator(self, length: float) -> None: ...
    def box_states(self, number: int) -> tuple[str, ...]: ...
    def round_state(self) -> tuple[str, int]: ...


class Director:
    """The entries of a script that have not happened yet."""

    def __init__(
        self, script: Sequence[Entry], clients: Sequence[Client], seed: int, clock: Clock
    ) -> None:
        self._clients, self._seed, self._clock = clients, seed, clock
        self._script = script
        self._boxes: dict[int, list[Kill]] = {}
        self._rounds: list[KillCoordinator] = []
        self._numbers = {client.name: client.number for client in clients}

    def begin(self, stage: Stage) -> None:
        """Put everything with a moment on the clock, and wait for the rest."""
        self._stage = stage
        for at, entry in enumerate(self._script):
            when = moment_s(entry.at) if entry.at else 0.0
            self._clock.at(when, partial(self._happens, entry, at))

    @property
    def waits(self) -> bool:
        """Whether `box` or `round` has anything to look out for, now or later."""
        return any(getattr(entry, "state", None) for entry in self._script)

    def box(self, name: str, _event: BoxEvent, *, after: bool) -> None:
        number = self._numbers.get(name, 0)
        waiting = self._boxes.get(number)
        if not after or not waiting:
            return
        states = self._stage.box_states(number)
        for entry in [kill for kill in waiting if kill.state in states]:
            waiting.remove(entry)
            self._soon(partial(self._stage.kill, number, _length(entry.length)))

    def round(self, _job: str, _event: RoundEvent, *, after: bool) -> None:
        if not after or not self._rounds:
            return
        state, number = self._stage.round_state()
        for entry in list(self._rounds):
            if entry.state == state and entry.round in (None, number):
                self._rounds.remove(entry)
                self._soon(partial(self._stage.kill_coordinator, seconds(entry.length)))

    def _soon(self, call: Callable[[], None]) -> None:
        # Not within the step that is under way: its actions belong to the same moment.
        self._clock.after(0.0, call)

    def _happens(self, entry: Entry, at: int) -> None:
        stage = self._stage
        match entry:
            case BrokerDown():
                stage.broker_down(seconds(entry.length), lose_state=entry.lose_state)
            case KillCoordinator():
                if entry.state:
                    self._rounds.append(entry)
                else:
                    stage.kill_coordinator(seconds(entry.length))
            case _:
                for number in self._concerned(entry, at):
                    self._on_client(entry, number)

    def _on_client(self, entry: Kill | Cut | Slow | Poison | Ail, number: int) -> None:
        match entry:
            case Kill():
                if entry.state:
                    self._boxes.setdefault(number, []).append(entry)
                else:
                    self._stage.kill(number, _length(entry.length))
            case Cut():
                self._stage.cut(number, seconds(entry.length))
            case Slow():
                self._stage.slow(number, entry.factor, _length(entry.length))
            case Poison():
                self._stage.poison(number, entry.what)
            case Ail():
                self._stage.ail(number, entry.fault)

    def _concerned(self, entry: Kill | Cut | Slow | Poison | Ail, at: int) -> list[int]:
        if entry.clients:
            return list(entry.clients)
        if entry.group:
            return [c.number for c in self._clients if c.group == entry.group]
        lot = seed_of(self._seed, "script", at)
        order = sorted(self._clients, key=lambda client: uniform(lot, client.number))
        count = round((entry.share or 0.0) * len(self._clients))
        return sorted(client.number for client in order[:count])


def _length(text: str | None) -> float | None:
    return None if text is None else seconds(text)
