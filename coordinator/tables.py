"""Tables and progress for people (Rich)."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from coordinator.notices import printable
from coordinator.reports import Report

MINUTE = 60


def _print(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=plain(title), title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(plain, row))
    Console().print(table if rows else plain(f"{title}: none yet"))


def plain(text: str) -> Text:
    """As it is: a box's own words must neither pass for markup nor steer the terminal."""
    return Text("\n".join(printable(line, len(line)) for line in text.split("\n")))


def clients(rows: list[Report], now: float) -> None:
    def line(row: Report) -> list[str]:
        board = row["resources"] or {}
        numbers = [
            f"{board['ram_free_mib']} MiB free" if board.get("ram_free_mib") is not None else "",
            f"{board['battery']} %" if board.get("battery") is not None else "",
            f"{board['temperature_c']} °C" if board.get("temperature_c") is not None else "",
            board.get("note", ""),
        ]
        seen = "never" if row["seen"] is None else f"{_ago(now - row['seen'])} ago"
        return [row["box"], row["state"], seen, ", ".join(n for n in numbers if n), row["key"]]

    _print("Boxes", ["box", "state", "seen", "board", "key"], [line(row) for row in rows])


def jobs(rows: list[Report]) -> None:
    lines = [
        [r["job"], r["phase"], f"{r['round']}/{r['rounds']}", _number(r["accuracy"]), r["reason"]]
        for r in rows
    ]
    _print("Jobs", ["job", "phase", "round", "accuracy", "why"], lines)


def job(report: Report) -> None:
    steps = report["asynchronous"]
    lines = [
        [
            str(r["turn"]),
            f"{r['kind']} {r['round']}" if r["kind"] == "train" else r["kind"],
            r["outcome"],
            str(r["included"]),
            *([f"{r['staleness']:.1f}"] if steps else []),
            _number(r["validation_loss"]),
            _number(r["validation_accuracy"]),
            f"{r['bytes_up']:,}",
            f"{r['bytes_down']:,}",
            "" if r["seconds"] is None else f"{r['seconds']:.1f}",
        ]
        for r in report["history"]
    ]
    columns = ["turn", "round", "outcome", "updates", *(["stale"] if steps else [])]
    columns += ["loss", "accuracy", "B up", "B down", "s"]
    _print(f"{report['job']}: {report['phase']} {report['reason']}", columns, lines)
    if steps and report["waiting_for"]:
        Console().print(plain(f"At work: {', '.join(report['waiting_for'])}"))
    out = [f"{b['box']}: {b['reason']}" for b in report["boxes"] if not b["rows"]]
    if out:
        Console().print(plain("Take no part: " + "; ".join(out)))


def decisions(rows: list[Report]) -> None:
    lines = [
        [
            str(row["turn"]),
            _chosen(row),
            _usual(row),
            _passed_over(row),
            _cost(row["forecast"]["seconds"], row["forecast"]["bytes"]),
            _came(row["came"]),
            "; ".join(f"{box}: {why}" for box, why in row["refused"].items()),
        ]
        for row in rows
    ]
    columns = ["turn", "chosen (score)", "hand rule", "next best", "forecast", "came", "refused"]
    _print("Decisions", columns, lines)


SMALL = 0.005
"""Of an aim: what is not told."""


def _chosen(row: Report) -> str:
    named = (
        f"{box} {row['scores'][box]:.2f}"
        + (f", {row['steps'][box]} steps" if box in row["steps"] else "")
        for box in row["cohort"]
    )
    why = f"\nthe hand rule chose: {row['fallback']}" if row["fallback"] else ""
    words = (f"\n{box}: {_mattered(said)}" for box, said in row.get("words", {}).items())
    counts = (f"{name} {part:.2f}" for name, part in row["prices"].items() if part >= SMALL)
    aim = "\nthe aim as read: " + ", ".join(counts) if row["prices"] else ""
    return f"{row['policy']}: " + "; ".join(named) + why + aim + "".join(words)


def _usual(row: Report) -> str:
    usual = row["hand_rule"]
    return "the same" if set(usual) == set(row["cohort"]) else ", ".join(usual)


def _mattered(words: list[Report]) -> str:
    return ", ".join(f"{word['word']} {word['effect']:+.2f}" for word in words)


def _passed_over(row: Report, most: int = 4) -> str:
    left = [item for item in row["scores"].items() if item[0] not in row["cohort"]]
    return ", ".join(f"{box} {score:.2f}" for box, score in sorted(left, key=_by_score)[:most])


def _by_score(item: tuple[str, float]) -> tuple[float, str]:
    return -item[1], item[0]


def _cost(seconds: float | None, size: int | None) -> str:
    told = [f"{seconds:.1f} s"] if seconds is not None else []
    return ", ".join(told + ([f"{size:,} B"] if size is not None else [])) or "unknown"


def _came(came: Report) -> str:
    text = f"{came['outcome']}: {_cost(came['seconds'], came['bytes'])}"
    late = came["not_delivered"] if came["seconds"] is not None else []
    return f"{text}; not from {', '.join(late)}" if late else text


def rehearsal(report: Report) -> None:
    lines = [
        [
            box["box"],
            f"{box['score']:.2f}",
            str(box["steps"]),
            "unknown" if box["rows"] is None else str(box["rows"]),
            "unknown" if box["seconds"] is None else f"{box['seconds']:.1f}",
        ]
        for box in report["cohort"]
    ]
    title = f"{report['job']}, {report['next']}, as {report['policy']} would plan it now"
    _print(title, ["box", "score", "steps", "rows", "expected s"], lines)
    told = [f"some {report['bytes']:,} B up and down"]
    if report["seconds"] is not None:
        told.append(f"slowest {report['slowest']}, {report['seconds']:.1f} s")
    if report["hand_rule"] != [box["box"] for box in report["cohort"]]:
        told.append(f"the hand rule would ask {', '.join(report['hand_rule'])}")
    if report["fallback"]:
        told.append(f"the hand rule chose: {report['fallback']}")
    if not report["enough"]:
        told.append(f"NOT ENOUGH boxes for the quorum of {report['quorum']}: the round would wait")
    if report["budget_pays_for"] is not None:
        told.append(f"budget.bytes pays for {report['budget_pays_for']} boxes")
    told += [f"not {box}: {why}" for box, why in report["refused"].items()]
    Console().print(plain("\n".join(told)))


def student(figures: Report) -> None:
    weights = sorted(figures["weights"].items(), key=lambda item: -abs(item[1]))
    _print(figures["file"], ["feature", "weight"], [[name, f"{w:+.3f}"] for name, w in weights])
    told = f"{figures['boxes']} boxes in {figures['decisions']} decisions of {figures['fleets']} "
    told += f"fleets by {figures['teacher']}; loss {figures['loss']:.4f}"
    if held := figures["held_out"]:
        told += f"; on {held['fleets']} fleets held out {held['loss']:.4f}, a constant's "
        told += f"{held['loss_of_a_constant']:.4f}"
    Console().print(plain(told))


def agent(figures: Report) -> None:
    told = f"{figures['file']}: {figures['lessons']} lessons of {figures['fleets']} fleets by "
    told += f"{figures['teacher']}; loss {figures['loss']:.4f}"
    if held := figures["held_out"]:
        told += f"; on {held['fleets']} fleets held out {held['loss']:.4f}, a constant's "
        told += f"{held['loss_of_a_constant']:.4f}, {held['captured']:.0%} of the gain over lots"
    Console().print(plain(told))


class Learning:
    """A progress bar of a long piece of work with named stages."""

    def __init__(self, *, shown: bool) -> None:
        self._progress = Progress(console=Console(stderr=True), disable=not shown)
        self._task = self._progress.add_task("reading", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, what: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=what, completed=done, total=total)


def findings(rows: list[Report]) -> None:
    lines = [["ok" if r["ok"] else "NOT OK", r["what"], r["advice"]] for r in rows]
    _print("Examination", ["", "what", "advice"], lines)


class Follower:
    """A progress bar with the newest figures."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} {task.fields[figures]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns)
        self._task: TaskID | None = None

    def update(self, report: Report) -> None:
        if self._task is None:
            self._progress.start()
            name, total = report["job"], report["rounds"]
            self._task = self._progress.add_task(name, total=total, figures="")
        done = [r for r in report["history"] if r["outcome"] == "done" and r["kind"] == "train"]
        figures = report["phase"]
        if report["waiting_for"]:
            figures += f" {len(report['waiting_for'])} boxes"
        if done and done[-1]["validation_accuracy"] is not None:
            figures += f", accuracy {done[-1]['validation_accuracy']:.3f}"
        self._progress.update(self._task, completed=len(done), figures=figures)

    def close(self) -> None:
        if self._task is not None:
            self._progress.stop()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", MINUTE)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
