"""The `fleet` command: whole fleets on this machine."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from proto.exits import run_command

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
    clients: Annotated[int, typer.Option(help="Boxes, each a process of its own.")] = 8,
    rounds: Annotated[
        int | None, typer.Option(help="Training rounds; left out, as many as the task says: 15.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Deals the rows and draws the first model.")] = 0,
    broker: Annotated[str, typer.Option(help="auto, mosquitto, iotcore or mqtt://...")] = "auto",
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path(),
    keep: Annotated[Path | None, typer.Option(help="Keep logs and stores here.")] = None,
    task: Annotated[Path | None, typer.Option(help="A task file, such as examples/wine.toml.")] = None,
    data: Annotated[
        str, typer.Option(help="Rows to deal: a .csv or .npz file, sklearn:NAME[:CLASS,CLASS].")
    ] = "sklearn:breast_cancer",
    split: Annotated[
        str, typer.Option(help="How: iid, dirichlet:ALPHA, class or size.")
    ] = "dirichlet:0.5",
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """A broker, a coordinator and boxes train one quantum classifier together, sealed end to end.

    Each box holds its own rows of breast_cancer, or of --data, dealt by --split; a quarter is held
    back by this harness alone, and every accuracy is measured there. Examples:

    fleet demo --task examples/digits_3v8.toml --data sklearn:digits:3,8

    fleet demo --clients 4 --task examples/wine.toml --data sklearn:wine --split size
    """
    from coordinator.tables import Follower
    from firmware_sim import demo as main_job

    settings = main_job.Settings(clients, rounds, seed, broker, keep, task, data, split)
    if not json:
        typer.echo(f"Starting {clients} boxes ...")
    result = main_job.run(settings, None if json else Follower())
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


def main() -> NoReturn:
    run_command("fleet", app)
