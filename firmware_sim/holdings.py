"""Who holds which rows in a scenario, and which rows nobody holds."""

from dataclasses import dataclass

import numpy as np

from coordinator.taskfile import TaskFile, task_of
from coordinator.taskmodel import Model as Circuit
from edge_client.dataset import EXAMPLES, Table, load
from firmware_sim import sensors
from firmware_sim.behaviour import drift
from firmware_sim.population import Client
from firmware_sim.scenario import Scenario, task_file
from firmware_sim.splits import dirichlet
from firmware_sim.tomlfile import refuse
from proto.errors import ConfigError

DRIFT_STEP = 0.05
"""Rows are drawn anew whenever they have drifted so far, in standard deviations."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """Rows by client number."""

    scenario: Scenario
    seed: int
    tables: tuple[Table, ...]
    """Of each client, where the data are a fixed set; else they are made when asked for."""
    test: Table
    own_tests: tuple[Table, ...]
    """Test rows of each client's own kind, where the data are a fixed set."""

    def rows(self, client: Client, at: float) -> Table:
        if self.tables:
            return self.tables[client.number - 1]
        moved = self.version(client, at) * DRIFT_STEP
        return sensors.rows(client, self.scenario.work.skew, self.seed, moved)

    def version(self, client: Client, at: float) -> int:
        """Another number once the client's rows have drifted on."""
        behaviour = client.life.behaviour
        if self.tables or not (behaviour.drift_per_day or behaviour.jump):
            return 0
        return round(drift(client.life, at) / DRIFT_STEP)

    def task(self) -> TaskFile:
        return task_file(self.scenario, self.test.classes, self.test.columns)


def holdings(scenario: Scenario, clients: tuple[Client, ...], seed: int) -> Holdings:
    """Raises ConfigError where the data cannot be dealt to so many clients, or give no task."""
    held = _dealt(scenario, clients, seed)
    try:
        task_of(held.task(), "fleet", 0)
    except ConfigError as error:
        raise ConfigError(f"[work] makes no task: {error}") from None
    return held


def _dealt(scenario: Scenario, clients: tuple[Client, ...], seed: int) -> Holdings:
    work = scenario.work
    if not isinstance(work.model, Circuit):
        kind = type(work.model).__struct_config__.tag
        refuse("work.model.kind", kind, "circuit, which emulated fleets train")
    if work.data == "sensors":
        return Holdings(scenario, seed, (), sensors.held_back(seed), ())
    if work.data.partition(":")[2] not in EXAMPLES:
        refuse("work.data", work.data, ["sensors", *(f"sklearn:{one}" for one in EXAMPLES)])
    table = load(work.data)
    try:
        split = dirichlet(table.y, len(clients), work.skew, seed)
    except ConfigError as error:
        refuse("group", f"{len(clients)} clients", f"as {work.data} is enough for: {error}")
    tables = []
    for client, index in zip(clients, split.boxes, strict=True):
        part = _part(table, index)
        tables.append(_noisy(part, client.seed) if client.noisy else part)
    tests = tuple(_part(table, index) for index in split.test)
    return Holdings(scenario, seed, tuple(tables), _part(table, np.concatenate(split.test)), tests)


def _part(table: Table, index: np.ndarray) -> Table:
    return Table(table.X[index], table.y[index], table.columns, table.classes)


def _noisy(table: Table, seed: int) -> Table:
    """Half of the labels replaced by another class."""
    rng = np.random.default_rng(seed & 0xFFFFFFFF)
    other = (table.y + rng.integers(1, len(table.classes), len(table.y))) % len(table.classes)
    wrong = rng.random(len(table.y)) < sensors.FLIPPED
    return Table(table.X, np.where(wrong, other, table.y), table.columns, table.classes)
