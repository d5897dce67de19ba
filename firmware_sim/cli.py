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
    rounds: Annotated[int, typer.Option(help="Training rounds.")] = 15,
    seed: Annotated[int, typer.Option(help="Deals the rows and draws the first model.")] = 0,
    broker: Annotated[str, typer.Option(help="auto, mosquitto, iotcore or mqtt://...")] = "auto",
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path(),
    keep: Annotated[Path | None, typer.Option(help="Keep logs and stores here.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """A broker, a coordinator and boxes train one quantum classifier together, sealed end to end.

    Each box holds its own rows of breast_cancer; a quarter is held back by this harness alone, and
    every accuracy is measured there.
    """
    from coordinator.tables import Follower
    from firmware_sim import demo as main_job

    settings = main_job.Settings(clients, rounds, seed, broker, keep)
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


@app.command()
def compare(
    scenario: Annotated[Path, typer.Argument(help="A fleet's file, as in examples/fleets.")],
    policies: Annotated[
        str, typer.Option(help="Policies by name, with commas; the first is the one to beat.")
    ] = "stalest,random",
    seeds: Annotated[int, typer.Option(help="How many fleets are drawn, the same for all.")] = 5,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    costs: Annotated[Path | None, typer.Option(help="What calibrate wrote.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report (HTML) here.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write every run (JSON) here.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let policies meet the same fleets, and tell what each spent until the target, and who won.

    Every policy runs on every seed, so what differs is the policy alone. Time, bytes and energy are
    geometric means with 95 % intervals; a ratio whose interval lies below 1 is a win. Ten seeds
    tell more than five.
    """
    from firmware_sim import contest

    asked = contest.Asked(scenario, tuple(policies.split(",")), range(first, first + seeds), costs)
    results = contest.run(asked, shown=not json)
    contest.tell(asked, results, contest.Wanted(report, save, json))


@app.command()
def calibrate(
    core: Annotated[
        float, typer.Option(help="Raspberry Pi 4 cores that one core here is worth; 1 on a Pi 4.")
    ] = 4.0,
    out: Annotated[Path | None, typer.Option(help="Write the costs (TOML) here.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure what circuits and adapters cost on this machine, for --costs of run and compare.

    Some seconds of CPU time. An adapter is measured where its extra and base model are installed;
    elsewhere its shipped figures stay.
    """
    from firmware_sim import calibrate as measuring
    from proto.files import write_whole

    found = measuring.measure(core, lambda what: None if json else typer.echo(f"measuring {what}"))
    if out is not None:
        write_whole(out, measuring.text(found).encode())
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(found))
    elif out is None:
        typer.echo(measuring.text(found))
    else:
        typer.echo(f"The costs: {out.resolve()}")


def main() -> NoReturn:
    run_command("fleet", app)
