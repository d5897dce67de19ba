"""The `edge-client` command: parses, calls, prints. The work is in the modules it imports late."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from proto.exits import run_command

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A box of a Qfleet fleet. Its data stays here; only sealed updates leave. Begin with "
    "`edge-client join TOKEN --data rows.csv`, then `edge-client start`.",
)
Home = Annotated[str | None, typer.Option(help="The box's folder (or QFLEET_BOX_HOME).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value for machines.")]


@app.command()
def join(
    token: Annotated[str, typer.Argument(help="The token, a file with it, or - for stdin.")],
    home: Home = None,
    name: Annotated[str, typer.Option(help="This box's name; else the host's.")] = "",
    data: Annotated[str, typer.Option(help="Rows to train on: a .csv or .npz file.")] = "",
    target: Annotated[str, typer.Option(help="The column of class names; else the last.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 20.0,
    *,
    json: Json = False,
) -> None:
    """Join a fleet with a one-use token. Keys are made here and never leave."""
    from edge_client.config import home_of, write_data
    from edge_client.join import default_name
    from edge_client.join import join as join_fleet
    from proto.joining import parse_token

    folder = home_of(home)
    if data:
        write_data(folder, data, target)
    member = join_fleet(folder, parse_token(_token(token)), name or default_name(), wait)
    text = f"{member.box} has joined {member.fleet}; now `edge-client start`"
    _show({"box": member.box, "fleet": member.fleet, "home": str(folder)}, text, json=json)


@app.command()
def start(home: Home = None) -> None:
    """Run the box in the foreground (deploy/ has a systemd unit)."""
    flags = ["--home", home] if home else []
    # Become the agent: Typer and Rich stay out of its memory.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "edge_client.agent", *flags])


@app.command()
def status(
    home: Home = None,
    *,
    report: Annotated[bool, typer.Option("--report", help="Exactly what reports say.")] = False,
    json: Json = False,
) -> None:
    """Where this box belongs, what it has seen, what waits in its outbox."""
    from edge_client.overview import overview, report_now

    value = report_now(home) if report else overview(home)
    lines = "\n".join(f"{key}: {'-' if v is None else v}" for key, v in value.items())
    _show(value, lines, json=json)


@app.command()
def predict(
    source: Annotated[
        str,
        typer.Argument(help="A file with the task's columns (.csv, .tsv, .jsonl, .npz), or - ."),
    ] = "",
    home: Home = None,
    job: Annotated[str, typer.Option(help="Which job's model; else the newest.")] = "",
    text: Annotated[str, typer.Option(help="One text, for a task that reads text.")] = "",
    engine: Annotated[
        str, typer.Option(help="What runs an adapter: onnx, or llama where it is installed.")
    ] = "onnx",
    *,
    json: Json = False,
) -> None:
    """Class and probability of each row, by the fleet's newest model, without a network.

    With - each line of standard input is a text and is answered at once; a model that arrives
    meanwhile answers from the next line on. With --json the answers are a line of JSON each.
    """
    from edge_client.config import home_of, load
    from edge_client.predict import check_text_alone, predict_file, predict_stream, predictor

    folder = home_of(home)
    if engine not in ("onnx", "llama"):
        raise typer.BadParameter("--engine is onnx or llama")
    found = predictor(folder, job, load(folder).adapter, engine)
    if source == "-":
        for line, (name, chance) in predict_stream(found, sys.stdin):
            told = {"text": line, "class": name, "probability": chance, "round": found.round}
            _show(told, f"{name}\t{chance:.4f}\t{line}", json=json)
        return
    if bool(text) == bool(source):
        raise typer.BadParameter("give a file, - or --text")
    if text:
        check_text_alone(found)
        answers = [answer for _, answer in predict_stream(found, [text])]
    else:
        answers = predict_file(found, source)
    value = {
        "job": found.job,
        "round": found.round,
        "predictions": [{"class": name, "probability": p} for name, p in answers],
    }
    _show(value, "\n".join(f"{name}\t{p:.4f}" for name, p in answers), json=json)


@app.command()
def doctor(home: Home = None, *, json: Json = False) -> None:
    """Check this box; each trouble comes with what to do."""
    from edge_client.overview import examine

    findings = examine(home)
    lines = (
        f"{'ok    ' if f['ok'] else 'NOT OK'} {f['what']}" + ("" if f["ok"] else f": {f['advice']}")
        for f in findings
    )
    _show(findings, "\n".join(lines), json=json)
    if any(not finding["ok"] for finding in findings):
        raise typer.Exit(1)


def _token(text: str) -> str:
    """A token given as such, in a file, or on standard input (argv shows in process lists)."""
    if text == "-":
        return sys.stdin.readline()
    path = Path(text)
    return text if text.startswith("qf1.") or not path.is_file() else path.read_text()


def _show(value: object, text: str, *, json: bool) -> None:
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(value))
    else:
        typer.echo(text)


def main() -> NoReturn:
    run_command("edge-client", app)
