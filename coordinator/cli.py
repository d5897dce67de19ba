"""The `coordinator` command: parses, calls, prints. The work is in the modules it imports late."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from proto.exits import run_command

if TYPE_CHECKING:
    from coordinator.reports import Report

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Coordinate a fleet of boxes that learn together. Start with `coordinator demo`, or: "
    "`coordinator start`, `coordinator invite`, `coordinator run TASK.toml --follow`.",
)
Home = Annotated[str | None, typer.Option(help="Keys and store (or QFLEET_COORDINATOR_HOME).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value for machines.")]
MAX_EPOCHS = 1000.0


@app.command()
def start(
    home: Home = None,
    fleet: Annotated[str | None, typer.Option(help="The fleet's name.")] = None,
    broker: Annotated[str | None, typer.Option(help="Use the broker at mqtt(s)://...")] = None,
    ca: Annotated[str | None, typer.Option(help="CA file of that broker.")] = None,
    listen: Annotated[str | None, typer.Option(help="Run mosquitto at ADDRESS:PORT, TLS.")] = None,
    public: Annotated[str | None, typer.Option(help="Host name boxes use for --listen.")] = None,
    kind: Annotated[str | None, typer.Option(help="Embedded broker: mosquitto, iotcore.")] = None,
    record: Annotated[str | None, typer.Option(help="A file for `fleet replay`.")] = None,
) -> None:
    """Run the coordinator in the foreground (deploy/ has a systemd unit)."""
    options = {
        "home": home,
        "fleet": fleet,
        "broker": broker,
        "ca": ca,
        "listen": listen,
        "public": public,
        "kind": kind,
        "record": record,
    }
    flags = [word for name, v in options.items() if v is not None for word in (f"--{name}", v)]
    # Become the daemon: Typer and Rich stay out of its memory.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "coordinator.daemon", *flags])


@app.command()
def invite(
    name: Annotated[str, typer.Argument(help="The box's name; any when left out.")] = "",
    home: Home = None,
    hours: Annotated[float, typer.Option(help="How long the token is good.")] = 24.0,
    broker: Annotated[str, typer.Option(help="Broker URL for the box, with its login.")] = "",
    *,
    json: Json = False,
) -> None:
    """Print a one-use join token: `edge-client join TOKEN` on the box."""
    from coordinator.operate import make_token

    text = make_token(_home(home), name, hours, broker)
    _show({"token": text, "name": name, "hours": hours}, text, json=json)


@app.command()
def clients(home: Home = None, *, json: Json = False) -> None:
    """List the boxes: state, last seen, what their boards say."""
    from coordinator import reports, tables

    rows = reports.clients(_store(home))
    _show(rows, lambda: tables.clients(rows, time.time()), json=json)


@app.command()
def revoke(box: str, home: Home = None, *, json: Json = False) -> None:
    """Cast a box out: it gets no more offers, models or keys."""
    from coordinator.admission import revoke as cast_out

    version = cast_out(_store(home), box)
    _show({"box": box, "roster": version}, f"{box} is revoked (roster {version})", json=json)


@app.command()
def rekey(home: Home = None, *, json: Json = False) -> None:
    """Make a new coordinator key, signed by the fleet root; then restart the coordinator."""
    from coordinator.operate import renew_key

    serial = renew_key(_home(home))
    _show({"serial": serial}, f"key record {serial} made; restart the coordinator", json=json)


@app.command()
def run(
    task: Annotated[Path, typer.Argument(help="A task file; see examples/.")],
    home: Home = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Show progress to the end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the next plan.")] = False,
    json: Json = False,
) -> None:
    """Hand in a task; the running coordinator takes it up at once.

    With --dry-run nothing is handed in: it shows whom the next training round would ask now, the
    bytes, the slowest box, and who would not be asked and why.
    """
    from coordinator import operate, tables

    store = _store(home)
    if dry_run:
        plan = operate.rehearsed(store, task)
        _show(plan, lambda: tables.rehearsal(plan), json=json)
        return
    job = operate.hand_in(store, task)
    if not follow:
        _show({"job": job}, f"{job} is handed in; `coordinator show {job}` follows it", json=json)
        return
    _finish(store, job, None if json else tables.Follower(), json=json)


@app.command("list")
def list_(home: Home = None, *, json: Json = False) -> None:
    """List the jobs."""
    from coordinator import reports, tables

    rows = reports.jobs(_store(home))
    _show(rows, lambda: tables.jobs(rows), json=json)


@app.command()
def show(job: str, home: Home = None, *, json: Json = False) -> None:
    """One job: its rounds, figures and bytes."""
    from coordinator import reports, tables

    report = reports.show(_store(home), job)
    _show(report, lambda: tables.job(report), json=json)


@app.command()
def decisions(
    job: str,
    home: Home = None,
    turn: Annotated[int, typer.Option(help="Of this turn alone.")] = 0,
    *,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which words mattered; costs some CPU seconds.")
    ] = False,
    json: Json = False,
) -> None:
    """Who was chosen in each round and why: scores, the hand rule's choice, what came of it.

    With --explain the agent is asked again about each chosen box of the newest round, or of --turn,
    without each of its words in turn: those that moved its answer most are told.
    """
    from coordinator import reports, tables

    rows = reports.decisions(_store(home), job, turn)
    if explain:
        from coordinator.agent.review import explained

        rows = explained(_store(home), job, rows)
    _show(rows, lambda: tables.decisions(rows), json=json)


@app.command()
def log(
    job: Annotated[str, typer.Argument(help="One job; everything when left out.")] = "",
    home: Home = None,
    *,
    json: Json = False,
) -> None:
    """What happened, in order."""
    rows = [{"at": r.at, "job": r.job, "text": r.text} for r in _store(home).said(job, 0)]
    lines = (f"{time.strftime('%F %T', time.localtime(r['at']))} {r['text']}" for r in rows)
    _show(rows, "\n".join(lines), json=json)


@app.command()
def stop(job: str, home: Home = None, *, json: Json = False) -> None:
    """Stop a job; an open round is dropped, `resume` runs it again."""
    from coordinator.operate import ask

    ask(_store(home), job, "stop")
    _show({"job": job, "asked": "stop"}, f"{job} will stop", json=json)


@app.command()
def resume(job: str, home: Home = None, *, json: Json = False) -> None:
    """Go on with a stopped job."""
    from coordinator.operate import ask

    ask(_store(home), job, "resume")
    _show({"job": job, "asked": "resume"}, f"{job} goes on", json=json)


@app.command()
def export(
    job: str,
    to: Annotated[Path, typer.Option(help="Folder to write into.")] = Path(),
    formats: Annotated[
        str,
        typer.Option(
            help="Of a circuit any of npz,qasm; of an adapter npz,gguf,onnx,peft. Else all."
        ),
    ] = "",
    base: Annotated[str, typer.Option(help="An adapter's base model, where it has no name.")] = "",
    home: Home = None,
    *,
    json: Json = False,
) -> None:
    """Write the newest model: a circuit as NumPy arrays and OpenQASM 3 with its weights.

    An adapter as NumPy arrays, GGUF for llama.cpp, onnxruntime's adapter file and a PEFT folder.
    """
    from coordinator.export import export as write

    paths = [
        str(p) for p in write(_store(home), job, to, tuple(filter(None, formats.split(","))), base)
    ]
    _show({"files": paths}, "\n".join(paths), json=json)


@app.command()
def distill(
    decisions: Annotated[
        list[Path], typer.Argument(help="One decisions.jsonl or more; docs/selection.md.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    student: Annotated[
        str, typer.Option(help="linear, gbm, gbm-words, agent or stop; or by OUTPUT.")
    ] = "",
    base: Annotated[str, typer.Option(help="agent: the base model.")] = "smollm2-135m",
    depth: Annotated[
        int, typer.Option(help="agent: blocks of it that are used at all.", min=1)
    ] = 12,
    blocks: Annotated[int, typer.Option(help="agent: last blocks of those that learn.", min=1)] = 6,
    rank: Annotated[int, typer.Option(help="agent: of the adapter.", min=1, max=64)] = 8,
    epochs: Annotated[float, typer.Option(help="agent: times all lessons are learned.")] = 1.5,
    rate: Annotated[float, typer.Option(help="agent: AdamW's rate at its highest.")] = 6e-3,
    most: Annotated[int, typer.Option(help="agent: lessons at most; 0 takes all.", min=0)] = 4000,
    threads: Annotated[int, typer.Option(help="agent: cores that work.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="agent: of all chance.", min=0)] = 0,
    *,
    json: Json = False,
) -> None:
    """Train a student on a teacher's decisions, for rounds.policy "linear", "gbm" or "agent".

    An agent (-o NAME.gguf) learns on the base model's own 4-bit blocks; its card is written beside
    it, and a run that was broken off goes on where it was.
    """
    from coordinator import tables

    ending = ".stop.json" if output.name.endswith(".stop.json") else output.suffix
    wanted = student or {".gguf": "agent", ".stop.json": "stop"}.get(ending, "linear")
    if wanted != "agent":
        figures = _of_numbers(wanted, decisions, output)
        _show(figures, lambda: tables.student(figures), json=json)
        return
    if not (0.0 < rate <= 1.0 and 0.0 < epochs <= MAX_EPOCHS):  # NaN is neither
        from proto.errors import ConfigError

        raise ConfigError(
            f"--rate {rate:g} and --epochs {epochs:g}; accepted: above 0 and up to 1, above 0 and"
            f" up to {MAX_EPOCHS:g}"
        )
    from coordinator.agent.distil import Lecture, distill_agent
    from coordinator.agent.school import Course

    course = Course(blocks=blocks, rank=rank, alpha=2.0 * rank, epochs=epochs, rate=rate, seed=seed)
    with tables.Learning(shown=not json) as shown:
        figures = distill_agent(
            Lecture(tuple(decisions), output, depth, course, most=most, base=base, threads=threads),
            shown.update,
        )
    _show(figures, lambda: tables.agent(figures), json=json)


def _of_numbers(wanted: str, decisions: list[Path], output: Path) -> "Report":
    """A student that is no language model is fitted; its figures. Raises ConfigError."""
    if wanted == "linear":
        from coordinator.distill import distill_linear

        return distill_linear(decisions, output)
    if wanted == "stop":
        from coordinator.agent.stopping import distill_stop

        return distill_stop(decisions, output)
    if wanted in ("gbm", "gbm-words"):
        from coordinator.boost import distill_trees

        return distill_trees(decisions, output, words=wanted == "gbm-words")
    from proto.errors import ConfigError

    raise ConfigError(f"no student {wanted!r}; there is: linear, gbm, gbm-words, agent, stop")


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(help="The file to write.")],
    home: Home = None,
    *,
    json: Json = False,
) -> None:
    """Write a consistent copy of the store, also while the coordinator runs."""
    _store(home).copy_to(to)
    text = f"{to} is written; to restore, put it in place of qfleet.db"
    _show({"file": str(to)}, text, json=json)


@app.command()
def doctor(home: Home = None, *, json: Json = False) -> None:
    """Check this machine and this coordinator; each trouble comes with what to do."""
    from coordinator import tables
    from coordinator.doctor import examine

    findings = examine(_home(home))
    _show(findings, lambda: tables.findings(findings), json=json)
    if any(not finding["ok"] for finding in findings):
        raise typer.Exit(1)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def demo(context: typer.Context) -> None:
    """Start a broker, a coordinator and boxes here, and train one circuit, or an adapter, together.

    It is `fleet demo`, with the same options; --help tells them.
    """
    os.execv(sys.executable, [sys.executable, "-P", "-m", "firmware_sim", "demo", *context.args])


def _home(flag: str | None) -> Path:
    from coordinator.config import home_of

    return home_of(flag)


def _store(flag: str | None):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from coordinator.operate import open_store

    return open_store(_home(flag))


def _show(value: object, text: object, *, json: bool) -> None:
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(value))
    elif callable(text):
        text()
    else:
        typer.echo(text)


def _finish(store: object, job: str, follower: object, *, json: bool) -> None:
    from coordinator import reports
    from coordinator.operate import follow

    follow(store, job, follower)  # type: ignore[arg-type]
    report = reports.show(store, job)  # type: ignore[arg-type]
    if json:
        _show(report, "", json=True)
    raise typer.Exit(0 if report["phase"] == "finished" else 1)


def main() -> NoReturn:
    run_command("coordinator", app)
