"""A run, or policies side by side, as one HTML file that needs nothing else and loads nothing."""

import base64
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from coordinator.taskfile import RoundsTable
from firmware_sim import charts
from firmware_sim.compare import Comparison, Interval, compare
from firmware_sim.outcome import Result, jain, participation, reached, total
from firmware_sim.scenario import Scenario
from proto.files import write_whole

Rows = Sequence[Sequence[str]]


def write_report(path: Path, scenario: Scenario, results: Sequence[Result]) -> None:
    """Write the report of one run, or of a whole sweep. Raises StorageError."""
    write_whole(path, page(scenario, results).encode())


def page(scenario: Scenario, results: Sequence[Result]) -> str:
    """The whole page. Same results, same bytes."""
    runs: charts.Runs = {}
    for result in results:
        runs.setdefault(result.policy, []).append(result)
    many = len(results) > 1
    body = _sweep(runs, compare(results)) if many else _single(results[0])
    template = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(scenario.name),
        about=escape(scenario.about),
        facts=_facts(scenario, results),
        body=body,
    )


def words(value: Interval, scale: float = 1.0, form: str = ".2f") -> str:
    """A mean and its interval as people read them."""
    told = format(value.mean / scale, form)
    if not value.known:
        return told
    return f"{told} ({format(value.low / scale, form)} to {format(value.high / scale, form)})"


def length(seconds: float) -> str:
    """A length of time in its own unit."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def table_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of the table of policies, for a page or a terminal."""
    head = [
        *("policy", "hits", "hours", "MB", "paid MB", "kJ"),
        *("rounds", "deaths", "Jain", "waste %", "accuracy"),
    ]
    rows = [
        [
            row.policy,
            f"{row.hits} of {row.seeds}",
            words(row.seconds, 3600),
            words(row.bytes, 1e6),
            words(row.paid_bytes, 1e6),
            words(row.energy_j, 1e3, ".1f"),
            words(row.rounds, form=".1f"),
            words(row.battery_deaths, form=".1f"),
            words(row.jain),
            words(row.waste, 0.01, ".1f"),
            words(row.accuracy, form=".3f"),
        ]
        for row in comparison.rows
    ]
    return head, rows


def ratio_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of the ratios to the first policy."""
    head = [f"against {comparison.rows[0].policy}", "time", "bytes", "energy"]
    rows = [
        [r.policy, words(r.seconds), words(r.bytes), words(r.energy_j)]
        for r in comparison.ratios[1:]
    ]
    return head, rows


def _sweep(runs: charts.Runs, comparison: Comparison) -> str:
    parts = [
        _section(
            "To the target",
            f"Means over {len(comparison.seeds)} seeds with 95 % intervals, until test accuracy "
            f"{comparison.target:g}. A run that missed counts with all it spent, which is less "
            "than it would have needed. Deaths are batteries that ran empty; waste is the energy "
            "of training that did not count.",
            _table(*table_rows(comparison)),
        )
    ]
    if len(comparison.ratios) > 1:
        about = "The same seeds, paired; below 1 is better, an interval across 1 is no difference."
        content = _picture(charts.ratios(comparison)) + _table(*ratio_rows(comparison))
        parts.append(_section("Policies against the first", about, content))
    curves = [
        charts.learning(runs, "seconds", "hours", 3600.0),
        charts.learning(runs, "energy_j", "energy, kJ", 1000.0),
        charts.learning(runs, "bytes", "bytes on the wire, MB", 1e6),
        charts.shares(runs),
    ]
    about = "Medians of seeds; the band is the middle half. Last: who got to take part at all."
    parts.append(_section("What learning cost", about, "".join(map(_picture, curves))))
    return "".join(parts)


def _single(result: Result) -> str:
    hit, spent = reached(result), total(result)
    counts = participation(result)
    cards = [
        ("target reached", length(total(result, hit).seconds) if hit else "not"),
        ("rounds", str(len(result.rounds))),
        ("time", length(spent.seconds)),
        ("on the wire", f"{spent.bytes / 1e6:.2f} MB"),
        ("energy", f"{spent.energy_j / 1e3:.1f} kJ"),
        ("wasted", f"{100 * spent.wasted_j / spent.energy_j if spent.energy_j else 0:.1f} %"),
        ("batteries empty", str(spent.battery_deaths)),
        ("Jain's index", f"{jain(counts):.2f}"),
    ]
    shown = "".join(f"<div><b>{escape(v)}</b><span>{escape(k)}</span></div>" for k, v in cards)
    runs = {result.policy: [result]}
    curves = [
        charts.learning(runs, "seconds", "hours", 3600.0),
        charts.rounds(result),
        charts.learning(runs, "energy_j", "energy, kJ", 1000.0),
        charts.shares(runs),
    ]
    head = ["round", "kind", "outcome", "took", "asked", "counted", "KB", "kJ", "accuracy"]
    rows = [
        [
            str(row.round),
            row.kind,
            row.outcome,
            length(row.closed_s - row.opened_s),
            str(len(row.asked)),
            str(len(row.included)),
            f"{(row.bytes_up + row.bytes_down) / 1e3:.1f}",
            f"{row.energy_j / 1e3:.2f}",
            "" if row.accuracy is None else f"{row.accuracy:.3f}",
        ]
        for row in result.rounds
    ]
    refused = [[why, str(number)] for why, number in sorted(result.refusals.items())]
    return (
        _section("In short", result.reason, f'<div class="cards">{shown}</div>')
        + _section("How it went", "", "".join(map(_picture, curves)))
        + _section("Round by round", "", _table(head, rows))
        + (
            _section("Why clients declined", "", _table(["reason", "times"], refused))
            * bool(refused)
        )
    )


def _facts(scenario: Scenario, results: Sequence[Result]) -> str:
    rounds = scenario.work.rounds
    seeds = sorted({result.seed for result in results})
    facts = {
        "clients": "; ".join(
            f"{g.count} {g.name} ({_mix(g.board)}, {_mix(g.link)})" for g in scenario.group
        ),
        "task": f"{scenario.work.data}, target {scenario.work.target:g}",
        "rounds": f"{rounds.count}, {_asked(rounds)}, deadline {rounds.deadline}",
        "engine": ", ".join(sorted({result.engine for result in results})),
        "seeds": ", ".join(map(str, seeds)),
        "script": f"{len(scenario.script)} entries" if scenario.script else "nothing scripted",
    }
    return "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())


def _asked(rounds: RoundsTable) -> str:
    if rounds.kind == "async":
        return f"asynchronous, {rounds.concurrency} at once, {rounds.buffer} updates a step"
    return f"cohort {rounds.cohort or 'all'}"


def _mix(mix: str | dict[str, float]) -> str:
    return mix if isinstance(mix, str) else " + ".join(mix)


def _section(title: str, about: str, content: str) -> str:
    told = f"<p>{escape(about)}</p>" if about else ""
    return f"<section><h2>{escape(title)}</h2>{told}{content}</section>"


def _table(head: Sequence[str], rows: Rows) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{lines}</table></div>'


def _cell(text: str) -> str:
    """An interval stands small below its mean."""
    told, _, interval = escape(text).partition(" (")
    small = f"<small>{interval.rstrip(')')}</small>" if interval else ""
    return f"<td>{told}{small}</td>"


def _picture(svg: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="" src="data:image/svg+xml;base64,{data}">'
