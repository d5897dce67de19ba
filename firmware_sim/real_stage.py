"""A script's faults on a fleet of real processes: kills, a slower CPU, updates gone bad, no broker.

What only an emulated world can do (links, hidden faults, a box caught in a state of its table) is
refused before anything starts.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from coordinator.broker_process import BrokerProcess
from firmware_sim.clock import Clock
from firmware_sim.limits import Group, Limit
from firmware_sim.population import Client
from firmware_sim.processes import Processes
from firmware_sim.scenario import Scenario
from firmware_sim.script import BrokerDown, Kill, KillCoordinator, Poison, Slow
from firmware_sim.tomlfile import refuse

PLAYED = {
    "kill": Kill,
    "slow": Slow,
    "poison": Poison,
    "broker-down": BrokerDown,
    "kill-coordinator": KillCoordinator,
}


class Held(NamedTuple):
    """A box's control group, and what it is limited to."""

    group: Group
    limit: Limit


def check_script(scenario: Scenario, *, links: bool = False) -> None:
    """Raises ConfigError for what real processes cannot play, with or without limited links."""
    for at, entry in enumerate(scenario.script):
        if not isinstance(entry, tuple(PLAYED.values())):
            done = type(entry).__struct_config__.tag
            refuse(f"script[{at}].do", f"{done}, for the engine virtual", PLAYED)
        if links and isinstance(entry, BrokerDown):
            refuse(f"script[{at}].do", "broker-down, with --links", "it without --links")
        if state := getattr(entry, "state", None):
            refuse(f"script[{at}].state", f"{state}, for the engine virtual", "a moment in at")


class RealStage:
    """See `director.Stage`; `clock` is real time since the script began.

    `broker` is None where the coordinator has its own, which no script may then take away.
    """

    def __init__(
        self,
        fleet: Processes,
        broker: BrokerProcess | None,
        clients: Sequence[Client],
        groups: Mapping[str, Held],
        clock: Clock,
    ) -> None:
        self._fleet, self._broker = fleet, broker
        self._clients, self._groups, self._clock = clients, groups, clock
        self._module: dict[str, tuple[str, ...]] = {}

    def kill(self, number: int, length: float | None) -> None:
        name = self._clients[number - 1].name
        if self._fleet.running(name):
            self._fleet.kill(name)
        if length is not None:
            self._clock.after(length, partial(self._start, name))

    def slow(self, number: int, factor: float, length: float | None) -> None:
        held = self._groups.get(self._clients[number - 1].name)
        if held is None:
            return
        held.group.limit(held.limit._replace(cores=held.limit.cores / factor))
        if length is not None:
            self._clock.after(length, partial(held.group.limit, held.limit))

    def poison(self, number: int, what: str) -> None:
        """The box starts again as one that spoils what it trains."""
        name = self._clients[number - 1].name
        self._module[name] = ("firmware_sim.spoilt_agent", what)
        self.kill(number, 0.0)

    def broker_down(self, length: float, *, lose_state: bool) -> None:
        """mosquitto keeps what it knows in a file; iotcore forgets it in any case."""
        assert self._broker is not None, "check_script lets this through only where it is ours"
        self._broker.stop()
        if lose_state:
            for kept in self._broker.home.glob("*.db"):
                kept.unlink()
        self._clock.after(length, self._broker.restart)

    def kill_coordinator(self, length: float) -> None:
        self._fleet.kill("coordinator")
        self._clock.after(length, self._start_coordinator)

    def _start(self, name: str) -> None:
        pid = self._fleet.start_box(name, *self._module.get(name, ()))
        if name in self._groups:
            self._groups[name].group.take(pid)

    def _start_coordinator(self) -> None:
        self._fleet.start_coordinator().close()

    def _refused(self, *_: object, **__: object) -> Any:
        raise AssertionError("check_script lets none of these through")

    cut = ail = box_states = round_state = _refused
