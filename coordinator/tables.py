"""Tables and progress for people (Rich)."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from coordinator.reports import Report

MINUTE = 60


def _print(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console().print(table if rows else f"{title}: none yet")


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
    lines = [
        [
            str(r["turn"]),
            f"{r['kind']} {r['round']}" if r["kind"] == "train" else r["kind"],
            r["outcome"],
            str(r["included"]),
            _number(r["validation_loss"]),
            _number(r["validation_accuracy"]),
            f"{r['bytes_up']:,}",
            f"{r['bytes_down']:,}",
            "" if r["seconds"] is None else f"{r['seconds']:.1f}",
        ]
        for r in report["history"]
    ]
    columns = ["turn", "round", "outcome", "updates", "loss", "accuracy", "B up", "B down", "s"]
    _print(f"{report['job']}: {report['phase']} {report['reason']}", columns, lines)
    out = [f"{b['box']}: {b['reason']}" for b in report["boxes"] if not b["rows"]]
    if out:
        Console().print("Take no part: " + "; ".join(out))


def decisions(rows: list[Report]) -> None:
    lines = []
    for row in rows:
        ranked = sorted(row["scores"].items(), key=lambda item: -item[1])
        scores = ", ".join(f"{box} {score:.2f}" for box, score in ranked[:8])
        refused = "; ".join(f"{box}: {why}" for box, why in row["refused"].items())
        lines.append([str(row["turn"]), ", ".join(row["cohort"]), scores, refused])
    _print("Decisions", ["turn", "chosen", "scores", "refused"], lines)


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
