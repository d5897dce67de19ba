"""The `fleet` command: whole fleets on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from proto.exits import run_command

if TYPE_CHECKING:
    from firmware_sim import demo as main_job

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Whole fleets on this machine, by the same code that runs in the field.",
)


@app.callback()
def _root() -> None:
    """Keep `demo` a subcommand while it is the only one."""


@app.command()
def demo(
    clients: Annotated[
        int | None, typer.Option(help="Boxes, each a process of its own; 8, or 4 that read.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="Training rounds; the file's, else 15, or 5 of an adapter."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Deals the rows and draws the first model.")] = 0,
    broker: Annotated[str, typer.Option(help="auto, mosquitto, iotcore or mqtt://...")] = "auto",
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path(),
    keep: Annotated[Path | None, typer.Option(help="Keep logs and stores here.")] = None,
    task: Annotated[
        str,
        typer.Option(
            help="A circuit's task file; telemetry: boards' journals; sms: your messages."
        ),
    ] = "",
    data: Annotated[
        str,
        typer.Option(
            help="Rows: a file (for sms with label and text), sklearn:NAME[:CLASS,CLASS]."
        ),
    ] = "",
    split: Annotated[
        str, typer.Option(help="How: iid, dirichlet:ALPHA, class or size.")
    ] = "dirichlet:0.5",
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """A broker, a coordinator and boxes train one quantum classifier together, sealed end to end.

    Each box holds its own rows of breast_cancer, or of --data, dealt by --split; a quarter is held
    back by this harness alone, and every accuracy is measured there. With --task telemetry a
    language model learns to read boards' journals instead, and teaches a circuit; with --task sms
    it learns to tell spam in messages of your own. The base model is fetched where it is not here;
    the adapter is exported to --out. Other circuits:

    fleet demo --task examples/digits_3v8.toml --data sklearn:digits:3,8

    fleet demo --clients 4 --task examples/wine.toml --data sklearn:wine --split size
    """
    from firmware_sim import demo as main_job

    if task and not task.endswith(".toml"):
        settings_ = (clients or 4, rounds or 5, seed, main_job.broker_flags(broker), keep, out)
        _reading(task, Path(data) if data else None, settings_, json=json)
        return
    file = Path(task) if task else None
    rows = data or main_job.ROWS
    settings = main_job.Settings(clients or 8, rounds, seed, broker, keep, file, rows, split)
    _circuit(settings, out, json=json)


def _circuit(settings: "main_job.Settings", out: Path, *, json: bool) -> None:
    """The demo of a circuit."""
    from coordinator.tables import Follower
    from firmware_sim.demo import run

    if not json:
        typer.echo(f"Starting {settings.clients} boxes ...")
    result = run(settings, None if json else Follower())
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(result))
        return
    from firmware_sim.plot import draw
    from firmware_sim.show import show

    picture = out / "qfleet-demo.png"
    draw(result, picture)
    show(result)
    typer.echo(f"The picture: {picture.resolve()}")


def _reading(
    task: str,
    data: Path | None,
    given: tuple[int, int, int, tuple[str, ...], Path | None, Path],
    *,
    json: bool,
) -> None:
    """The demo of a task that reads text."""
    import msgspec

    from coordinator.tables import Follower
    from firmware_sim import text_demo
    from firmware_sim.show import show_reading
    from proto.errors import ConfigError

    settings = text_demo.Settings(*given)
    if task == "telemetry":
        rows = text_demo.telemetry_rows(settings)
    elif task == "sms" and data is not None:
        rows = text_demo.sms_rows(settings, data)
    else:
        why = "sms needs --data FILE" if task == "sms" else f"no task {task!r}"
        raise ConfigError(
            f"{why}; there is: telemetry, sms with --data FILE, and task files (.toml)"
        )
    if not json:
        typer.echo(f"Starting {settings.clients} boxes; each reads its rows first ...")
    result = text_demo.run(rows, settings, None if json else Follower())
    if json:
        typer.echo(msgspec.json.encode(result))
    else:
        show_reading(result)


def main() -> NoReturn:
    run_command("fleet", app)
