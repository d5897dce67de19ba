"""The command `fleet compare`: runs every policy on every seed and tells the outcome."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from coordinator.notices import printable
from coordinator.tables import plain
from firmware_sim import costs
from firmware_sim.compare import Comparison, compare, pairs, sweep
from firmware_sim.emulation import Settings, emulate
from firmware_sim.outcome import Result
from firmware_sim.report import ratio_rows, table_rows, write_report
from firmware_sim.scenario import Scenario, read
from proto.errors import ConfigError
from proto.files import write_whole

ENGINES = ("virtual", "ray")


class Asked(NamedTuple):
    """What is to be run."""

    scenario: Path
    policies: tuple[str, ...]
    seeds: Sequence[int]
    engine: str = "virtual"
    address: str = ""
    """Of a Ray cluster; empty starts one here."""
    costs: Path | None = None


class Wanted(NamedTuple):
    """What is to become of it."""

    report: Path | None
    save: Path | None
    json: bool


def run(asked: Asked, *, shown: bool) -> list[Result]:
    """All runs, with a progress bar where it is shown. Raises ConfigError."""
    if asked.engine not in ENGINES:
        raise ConfigError(f"engine is {asked.engine}; accepted: one of {', '.join(ENGINES)}")
    if asked.costs is not None and asked.engine != "virtual":
        raise ConfigError(f"costs is for the engine virtual; left out for {asked.engine}")
    scenario, settings = read(asked.scenario), Settings(costs=costs.load(asked.costs))
    for name in ("edge_client", "coordinator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # emulated troubles are results
    with Progress(console=Console(stderr=True), disable=not shown) as bar:
        total = len(asked.policies) * len(asked.seeds)
        whole = bar.add_task(escape(printable(scenario.name)), total=total)

        def tell(words: str) -> None:
            bar.update(whole, advance=1, description=words)

        def engine(one: Scenario, seed: int) -> Result:
            result = emulate(one, seed, settings)
            tell(f"{result.policy}, seed {seed}")
            return result

        if asked.engine == "ray":
            return _on_ray(asked, scenario, tell)
        return sweep(scenario, asked.policies, asked.seeds, engine)


def _on_ray(asked: Asked, scenario: Scenario, tell: Callable[[str], None]) -> list[Result]:
    from firmware_sim import on_ray  # noqa: PLC0415 - an extra

    jobs = [(s, "", seed) for s, seed in pairs(scenario, asked.policies, asked.seeds)]
    results: dict[int, Result] = {}
    with on_ray.cluster(asked.address) as ray:
        for at, result in on_ray.sweep(ray, jobs):
            results[at] = result
            tell(f"{result.policy}, seed {result.seed}")
    return [results[at] for at in range(len(jobs))]


def tell(asked: Asked, results: Sequence[Result], wanted: Wanted) -> None:
    """Print the table, or JSON; write what is to be kept. Raises StorageError."""
    found = compare(results)
    if wanted.save is not None:
        write_whole(wanted.save, msgspec.json.encode(results))
    if wanted.report is not None:
        write_report(wanted.report, read(asked.scenario), results)
    if wanted.json:
        Console().print_json(msgspec.json.encode(found).decode())
        return
    show(found)
    if wanted.report is not None:
        Console().print(plain(f"The report: {wanted.report.resolve()}"), soft_wrap=True)


def show(comparison: Comparison) -> None:
    """The comparison as tables for people: a column for each policy."""
    console = Console()
    seeds = len(comparison.seeds)
    title = f"{comparison.scenario}: until accuracy {comparison.target:g}, {seeds} seeds, 95 %"
    _turned(console, title, *table_rows(comparison))
    head, rows = ratio_rows(comparison)
    if rows:
        _turned(console, "Paired by seed; below 1 is better", head, rows)
    missed = [row.policy for row in comparison.rows if row.hits < row.seeds]
    if missed:
        console.print(
            f"{', '.join(missed)} missed the target in some runs: those count with all they spent, "
            "which is less than they would have needed."
        )


def _turned(console: Console, title: str, head: list[str], rows: list[list[str]]) -> None:
    """Rows become columns: policies are few, measures are many."""
    table = Table(title=plain(title), title_justify="left")
    table.add_column(head[0])
    for row in rows:
        table.add_column(row[0], justify="right")
    for at, name in enumerate(head[1:], 1):
        table.add_row(name, *(row[at] for row in rows))
    console.print(table)
