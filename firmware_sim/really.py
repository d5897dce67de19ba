"""The engine `processes`: a scenario with real boxes, a real broker, real time and real limits.

For a handful of clients. A board is a CPU quota and a memory limit, a link is a rate; a script may
kill, slow and poison, and take the broker or the coordinator away. All else that happens in time
(batteries, heat, lives, hidden faults) only `virtual` plays.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from coordinator.broker_process import start_broker
from coordinator.jobstate import Phase
from coordinator.store import Store
from coordinator.submit import submit
from coordinator.taskfile import seconds
from firmware_sim import costs
from firmware_sim.boards import Board, ram_free_mib
from firmware_sim.clock import Clock
from firmware_sim.director import Director
from firmware_sim.emulation import NAME
from firmware_sim.holdings import Holdings, holdings
from firmware_sim.limits import HOST, Limit, Network, group, network
from firmware_sim.outcome import Result
from firmware_sim.population import Client, first_board, populate
from firmware_sim.processes import Processes, cpu_seconds
from firmware_sim.real_stage import Held, RealStage, check_script
from firmware_sim.results import Run, state_of, summed
from firmware_sim.scenario import Scenario
from firmware_sim.splits import write_csv
from proto.errors import ConfigError, LocalError

MOST = 40
"""Clients: each is two processes while it trains."""
AGENT_MIB, TRAINING_MIB = 30, 20
"""What a box's agent is charged for, with some room, and the training of a small circuit.

Less than they take by themselves: libraries are charged to whoever loaded them first.
"""
LOOK_S = 0.2
PORT = 18883
TARGET = "label"

Tell = Callable[[int, int], None]


def really(
    scenario: Scenario, seed: int, tell: Tell | None = None, *, links: bool = False
) -> Result:
    """The whole run, in real time; `links` limits them too, which takes namespaces and mosquitto.

    Raises ConfigError for what only the virtual engine plays.
    """
    if scenario.clients > MOST:
        raise ConfigError(
            f"{scenario.clients} clients; processes takes at most {MOST}: use virtual"
        )
    check_script(scenario, links=links)
    clients = populate(scenario, seed)
    held = holdings(scenario, clients, seed)
    spent = cpu_seconds()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qfleet-run-")))
        net, lacks = stack.enter_context(network("qfnet")) if links else (None, "")
        broker = None if net else start_broker(home / "broker")
        if broker:
            stack.callback(broker.stop)
        flags = ("--broker", str(broker.url)) if broker else ("--listen", f"{HOST}:{PORT}")
        fleet = stack.enter_context(Processes(home, NAME, flags))
        store = fleet.start_coordinator()
        stack.callback(store.close)
        groups, lacking = _start(fleet, scenario, (clients, held), stack, net)
        began, clock = time.time(), Clock()
        submit(store, held.task(), NAME, began)
        director = Director(scenario.script, clients, seed, clock)
        director.begin(RealStage(fleet, broker, clients, groups, clock))
        _wait(store, scenario, clock, tell)
        result = summed(store, Run("processes", scenario, seed, clients, held, began), {})
    cost = {"cpu_s": round(cpu_seconds() - spent, 2), "not_limited": lacking or lacks}
    return replace(result, cost=cost)


def limit_of(client: Client, board: Board, scenario: Scenario, costs_: costs.Costs) -> Limit:
    """What stands for the client's board on this machine.

    Where the scenario says that training takes more than it does here, the limit is lower by that.
    """
    profile, kind = board.profile, client.line.kind
    wanted = scenario.work.memory_mib
    spare = max(0, wanted - TRAINING_MIB) if wanted else 0
    return Limit(
        cores=profile.speed / costs_.core,
        memory_mib=max(AGENT_MIB, ram_free_mib(board) + AGENT_MIB - spare),
        up_mbps=kind.up_mbps,
        down_mbps=kind.down_mbps,
        delay_s=kind.delay_s,
        loss=kind.loss,
    )


def _start(
    fleet: Processes,
    scenario: Scenario,
    who: tuple[Sequence[Client], Holdings],
    stack: ExitStack,
    net: Network | None,
) -> tuple[dict[str, Held], str]:
    """Everybody joins, then starts under its limits; what could not be limited, in words."""
    (clients, held), lacking = who, ""
    groups: dict[str, Held] = {}
    stack.callback(_remove, groups)
    stack.callback(fleet.close)  # before the groups go: they must be empty
    for client in clients:
        table = held.rows(client, 0.0)
        path = fleet.home / f"{client.name}.csv"
        write_csv(path, table, np.arange(len(table.y)), TARGET)
        fleet.join(client.name, str(path), TARGET)
    for client in clients:
        limit = limit_of(client, first_board(client), scenario, costs.shipped())
        if net:
            fleet.before[client.name] = net.box(client.number, limit)
        pid = fleet.start_box(client.name)
        try:
            one = group(f"qfleet-{pid}")
            groups[client.name] = Held(one, limit)
            one.limit(limit)
            one.take(pid)
        except LocalError as error:
            lacking = f"CPU and memory: {error}"
    return groups, lacking


def _remove(groups: dict[str, Held]) -> None:
    for held in groups.values():
        held.group.remove()


def _wait(store: Store, scenario: Scenario, clock: Clock, tell: Tell | None) -> None:
    began, lasts = time.monotonic(), seconds(scenario.lasts)
    while (now := time.monotonic() - began) < lasts:
        clock.run(until=now)
        state = state_of(store)
        if tell:
            tell(max(0, state.round - 1), state.rules.rounds)
        if state.phase in (Phase.FINISHED, Phase.STOPPED):
            return
        time.sleep(LOOK_S)
