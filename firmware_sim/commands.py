"""The commands `fleet run`, `chaos` and `replay`: what they do, and how it is shown."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from coordinator.notices import printable
from coordinator.tables import plain
from firmware_sim import costs, teach
from firmware_sim.chaos import ASYNC, SYNC, Verdict, chaos
from firmware_sim.emulation import Settings, emulate
from firmware_sim.outcome import Result
from firmware_sim.replay import Replay
from firmware_sim.scenario import Scenario, read, with_policy
from firmware_sim.tomlfile import refuse

ENGINES = ("virtual", "processes", "ray")


class Run(NamedTuple):
    """What is to be run, and how."""

    scenario: Path
    engine: str = "virtual"
    policy: str = ""
    seed: int = 0
    seeds: int = 1
    trace: Path | None = None
    record: Path | None = None
    address: str = ""
    """Of a Ray cluster; empty starts one here."""
    costs: Path | None = None
    """What work costs a board, as `fleet calibrate` found; for the engine virtual."""
    links: bool = False
    """Limit real boxes' links too; for the engine processes."""


def run(asked: Run, *, shown: bool) -> list[Result]:
    """One result a seed. Raises ConfigError."""
    _check(asked)
    scenario = read(asked.scenario)
    scenario = with_policy(scenario, asked.policy) if asked.policy else scenario
    for name in ("edge_client", "coordinator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # emulated troubles are results
    with Progress(console=Console(stderr=True), disable=not shown) as bar:
        whole = bar.add_task(escape(printable(scenario.name)), total=None)

        def tell(done: int, total: int) -> None:
            bar.update(whole, completed=done, total=total)

        if asked.engine == "ray":
            return _on_ray(asked, scenario, tell)
        if asked.engine == "processes":
            from firmware_sim.really import really  # noqa: PLC0415 - starts processes

            return [really(scenario, seed, tell, links=asked.links) for seed in _seeds(asked)]
        found = costs.load(asked.costs)
        settings = Settings(trace=asked.trace, record=asked.record, tell=tell, costs=found)
        return [emulate(scenario, seed, settings) for seed in _seeds(asked)]


def _check(asked: Run) -> None:
    """Raises ConfigError for what does not go together."""
    if asked.engine not in ENGINES:
        refuse("engine", asked.engine, ENGINES)
    if asked.costs is not None and asked.engine != "virtual":
        refuse("costs", f"given for the engine {asked.engine}", "costs for the engine virtual")
    if asked.links and asked.engine != "processes":
        refuse("links", f"set for the engine {asked.engine}", "links for the engine processes")
    for what in ("trace", "record"):
        if getattr(asked, what) is None:
            continue
        if asked.engine == "processes":
            refuse(what, "given for the engine processes", f"{what} for virtual and ray")
        if asked.seeds > 1:
            refuse(what, f"given for {asked.seeds} seeds", f"{what} for one seed at a time")


def _seeds(asked: Run) -> range:
    return range(asked.seed, asked.seed + asked.seeds)


def _on_ray(asked: Run, scenario: Scenario, tell: Callable[[int, int], None]) -> list[Result]:
    """Several seeds side by side, or one whose training is shared out."""
    from firmware_sim.on_ray import alone, cluster, sweep  # noqa: PLC0415 - an extra

    results: dict[int, Result] = {}
    with cluster(asked.address) as ray:
        if asked.seeds == 1:
            settings = Settings(trace=asked.trace, record=asked.record, tell=tell)
            return [alone(ray, scenario, asked.seed, settings)]
        for at, result in sweep(ray, [(scenario, "", seed) for seed in _seeds(asked)]):
            results[at] = result
            tell(len(results), asked.seeds)
    return [results[at] for at in range(asked.seeds)]


def show(results: list[Result]) -> None:
    """Rounds of each run, and what it cost."""
    console = Console()
    for result in results:
        title = f"{result.scenario}: {result.clients} clients, {result.policy}, seed {result.seed}"
        table = Table(title=plain(title), title_justify="left")
        for name in (
            "round",
            "outcome",
            "ended",
            "updates",
            "accuracy",
            "bytes",
            "energy",
            "deaths",
        ):
            table.add_column(name, justify="right")
        for row in result.rounds:
            table.add_row(
                f"{row.round} {row.kind}",
                row.outcome,
                f"{row.closed_s:.0f} s",
                f"{len(row.included)} of {len(row.asked)}",
                "" if row.accuracy is None else f"{row.accuracy:.3f}",
                f"{row.bytes_up + row.bytes_down:,}",
                f"{row.energy_j:,.0f} J",
                str(row.battery_deaths),
            )
        console.print(table)
        cost = ", ".join(f"{name} {value}" for name, value in result.cost.items())
        ended = f"{result.phase} {result.reason}; {result.events:,} messages; {cost}"
        console.print(plain(ended))
        for reason, often in result.refusals.items():
            console.print(plain(f"declined {often} times: {reason}"))


def run_teach(asked: teach.Asked, *, shown: bool) -> dict[str, object]:
    """Teach with a progress bar where it is shown. Raises ConfigError."""
    with Progress(console=Console(stderr=True), disable=not shown) as bar:
        whole = bar.add_task("fleets", total=None)

        def tell(name: str, done: int, total: int) -> None:
            bar.update(whole, completed=done, total=total, description=escape(printable(name)))

        return teach.teach(asked, tell)


def run_chaos(cuts: int, *, asynchronous: bool, shown: bool) -> Verdict:
    """All cuts, or so many."""
    table = ASYNC if asynchronous else SYNC
    logging.disable(logging.CRITICAL)  # a thousand deaths need not be told one by one
    try:
        with Progress(console=Console(stderr=True), disable=not shown) as bar:
            whole = bar.add_task("cuts", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(whole, completed=done, total=total)

            return chaos(cuts, tell, table)
    finally:
        logging.disable(logging.NOTSET)


def show_chaos(verdict: Verdict) -> None:
    console = Console()
    kinds = ", ".join(f"{count} {kind}" for kind, count in verdict.by_kind.items())
    console.print(f"{verdict.cuts} cuts: {kinds}")
    console.print(f"states cut: {', '.join(f'{s} {n}' for s, n in verdict.states.items())}")
    for failure in verdict.failures:
        console.print(f"FAILED {failure}", style="red", markup=False)
    if verdict.passed:
        console.print("after each: finished, every box counted once in every round, nothing left")
        console.print("in any outbox, and the undisturbed run's model to the bit")


def show_replay(found: Replay) -> None:
    table = Table()
    for name in ("job", "turn", "round", "outcome", "took", "asked", "included"):
        table.add_column(name, justify="right")
    for row in found.rounds:
        table.add_row(
            plain(row.job),
            str(row.turn),
            f"{row.round} {row.kind}",
            row.outcome,
            f"{max(0.0, row.closed - row.opened):.1f} s",
            str(len(row.asked)),
            str(len(row.included)),
        )
    Console().print(table)
    for line in found.untrue:
        Console().print(plain(f"NOT AS RECORDED {line}"), style="red")


def as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
