"""The `fleet` command: whole fleets on this machine."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from proto.exits import run_command

if TYPE_CHECKING:
    from firmware_sim import demo as main_job

ROUNDS = {"sms": 12, "telemetry": 14}
"""Of a task's demo."""

SHOWN = 3
"""Decisions of a demo that fit a screen."""


Check = Callable[[typer.CallbackParam, int | None], int | None]


def _whole(least: int, most: float = math.inf) -> Check:
    """What refuses an option's number outside of these, and leaves one not given alone."""

    def check(param: typer.CallbackParam, value: int | None) -> int | None:
        from firmware_sim.tomlfile import refuse

        if value is not None and not least <= value <= most:
            end = "" if math.isinf(most) else f" to {most}"
            refuse(f"--{param.name}", value, f"a whole number from {least}{end}")
        return value

    return check


COUNT, COUNT_OR_ALL = _whole(1), _whole(0)
LAST_SEED = 2**32 - 1
"""As of a scenario's rounds.seed."""
SEED = _whole(0, LAST_SEED)


def _seeds_from(first: tuple[str, int], count: tuple[str, int]) -> range:
    """One after the other, by two options; each can be asked for alone. Raises ConfigError."""
    from firmware_sim.tomlfile import refuse

    (begin, seed), (name, many) = first, count
    if seed + many - 1 > LAST_SEED:
        refuse(name, many, f"a whole number from 1 to {LAST_SEED - seed + 1} with {begin} {seed}")
    return range(seed, seed + many)


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Whole fleets on this machine, by the same code that runs in the field.",
)


@app.command()
def demo(
    clients: Annotated[
        int | None,
        typer.Option(callback=COUNT, help="Boxes, each a process of its own; 8, or 4 that read."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(callback=COUNT, help="Training rounds; the file's, else 15, 14 or 12."),
    ] = None,
    seed: Annotated[int, typer.Option(callback=SEED, help="Deals rows, draws the model.")] = 0,
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
    policy: Annotated[
        str, typer.Option(help="Who chooses three boxes of four in each round, such as agent.")
    ] = "",
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """A broker, a coordinator and boxes train one quantum classifier together, sealed end to end.

    Each box holds its own rows of breast_cancer, or of --data, dealt by --split; a quarter is held
    back by this harness alone, and every accuracy is measured there. With --task telemetry a
    language model learns to read boards' journals instead, and teaches a circuit; with --task sms
    it learns to tell spam in messages of your own. The base model is fetched where it is not here;
    the adapter is exported to --out. With --policy agent a language model plans the rounds, and the
    table of its decisions ends the demo; without the model the hand rule does. Other circuits:

    fleet demo --task examples/digits_3v8.toml --data sklearn:digits:3,8

    fleet demo --clients 4 --task examples/wine.toml --data sklearn:wine --split size
    """
    from firmware_sim import demo as main_job

    if task and not task.endswith(".toml"):
        many = rounds or ROUNDS.get(task, 1)
        settings_ = (clients or 4, many, seed, main_job.broker_flags(broker), keep, out)
        _reading(task, data, settings_, json=json)
        return
    file = Path(task) if task else None
    rows = data or main_job.ROWS
    settings = main_job.Settings(
        clients or 8, rounds, seed, broker, keep, file, rows, split, policy
    )
    _circuit(settings, out, json=json)


def _circuit(settings: "main_job.Settings", out: Path, *, json: bool) -> None:
    """The demo of a circuit."""
    from coordinator.tables import Follower, decisions
    from firmware_sim.demo import model_missing, run

    if settings.policy == "agent" and (missing := model_missing()):
        typer.echo(missing, err=True)
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
    if chosen := [d for d in result["decisions"] if d["kind"] == "train"]:
        decisions(chosen[-SHOWN:])
        typer.echo(
            f"{len(chosen)} rounds were planned, the last of them are above; --json has all."
        )
    typer.echo(f"The picture: {picture.resolve()}")


def _reading(
    task: str,
    data: str,
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
    elif task == "sms" and data:
        rows = text_demo.sms_rows(settings, Path(data))
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


@app.command()
def run(
    scenario: Annotated[Path, typer.Argument(help="A TOML file; ten are in examples/fleets.")],
    engine: Annotated[str, typer.Option(help="virtual, processes or ray.")] = "virtual",
    policy: Annotated[str, typer.Option(help="Instead of the scenario's own.")] = "",
    seed: Annotated[int, typer.Option(callback=SEED, help="The same seed gives the same run.")] = 0,
    seeds: Annotated[
        int, typer.Option(callback=COUNT, help="So many runs, each with the next seed.")
    ] = 1,
    trace: Annotated[Path | None, typer.Option(help="Log every event and size here.")] = None,
    record: Annotated[Path | None, typer.Option(help="Record rounds for `replay` here.")] = None,
    address: Annotated[str, typer.Option(help="A Ray cluster; one starts here if empty.")] = "",
    costs: Annotated[Path | None, typer.Option(help="What calibrate wrote.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report (HTML) here.")] = None,
    *,
    links: Annotated[
        bool, typer.Option("--links", help="With processes: limit links too; takes root.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one a seed.")] = False,
) -> None:
    """Emulate a fleet by the code that runs in the field: what it learns, and what that costs."""
    from firmware_sim import commands

    _seeds_from(("--seed", seed), ("--seeds", seeds))
    asked = commands.Run(
        scenario, engine, policy, seed, seeds, trace, record, address, costs, links
    )
    results = commands.run(asked, shown=not json)
    if report is not None:
        from firmware_sim.report import write_report
        from firmware_sim.scenario import read

        write_report(report, read(scenario), results)
    if json:
        typer.echo(commands.as_json(results))
    else:
        commands.show(results)


@app.command()
def chaos(
    cuts: Annotated[
        int, typer.Option(callback=COUNT_OR_ALL, help="So many, evenly spread; 0 for all.")
    ] = 0,
    *,
    asynchronous: Annotated[
        bool, typer.Option("--async", help="Of a job whose rounds are asynchronous.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Kill, delay, double and corrupt at every step of both tables; exit 1 if anything came of it.

    All of it is over 1000 runs of a small fleet: some ten minutes of one core.
    """
    from firmware_sim import commands

    verdict = commands.run_chaos(cuts, asynchronous=asynchronous, shown=not json)
    if json:
        typer.echo(commands.as_json(verdict))
    else:
        commands.show_chaos(verdict)
    if not verdict.passed:
        raise typer.Exit(1)


@app.command()
def replay(
    record: Annotated[Path, typer.Argument(help="Made by `coordinator start --record FILE`.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play a real run's events through the round table again; exit 1 where it went another way."""
    from firmware_sim import commands
    from firmware_sim import replay as replaying

    found = replaying.replay(record)
    if json:
        typer.echo(commands.as_json(found))
    else:
        commands.show_replay(found)
    if found.untrue:
        raise typer.Exit(1)


@app.command()
def compare(
    scenario: Annotated[Path, typer.Argument(help="A fleet's file, as in examples/fleets.")],
    policies: Annotated[
        str, typer.Option(help="Policies by name, with commas; the first is the one to beat.")
    ] = "stalest,random",
    seeds: Annotated[
        int, typer.Option(callback=COUNT, help="How many fleets are drawn, the same for all.")
    ] = 5,
    first: Annotated[int, typer.Option(callback=SEED, help="The first seed.")] = 0,
    engine: Annotated[str, typer.Option(help="virtual, or ray for many at once.")] = "virtual",
    address: Annotated[str, typer.Option(help="A Ray cluster; one starts here if empty.")] = "",
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

    names = tuple(policies.split(","))
    drawn = _seeds_from(("--first", first), ("--seeds", seeds))
    asked = contest.Asked(scenario, names, drawn, engine, address, costs)
    results = contest.run(asked, shown=not json)
    contest.tell(asked, results, contest.Wanted(report, save, json))


@app.command()
def teach(
    scenarios: Annotated[list[Path], typer.Argument(help="Fleets to learn on: TOML files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The decisions.jsonl to write.")],
    fleets: Annotated[
        int, typer.Option(callback=COUNT, help="How many fleets are drawn of each scenario.")
    ] = 8,
    first: Annotated[
        int,
        typer.Option(callback=SEED, help="The first seed; keep clear of those of tests."),
    ] = 0,
    processes: Annotated[
        int, typer.Option(callback=COUNT, help="Fleets that run side by side.")
    ] = 1,
    *,
    objectives: Annotated[
        bool, typer.Option(help="Give fleets all known objectives in turn, not their own alone.")
    ] = True,
    lead: Annotated[
        Path | None,
        typer.Option(help="A student (.json or .gguf) that chooses while the teacher writes."),
    ] = None,
    rollouts: Annotated[
        bool, typer.Option(help="Judge sets by three rounds ahead as well; ten times the CPU.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Have a teacher who knows the emulator's hidden state choose clients, for students to learn.

    Each round's choice is averaged over futures that what could be observed leaves open. A file
    that is there is gone on with, if it was begun by the same teacher on the same scenarios. Then:
    coordinator distill FILE -o STUDENT.
    """
    from firmware_sim import commands
    from firmware_sim import teach as teaching

    _seeds_from(("--first", first), ("--fleets", fleets))
    how = teaching.How(objectives=objectives, lead=lead, rollouts=rollouts)
    asked = teaching.Asked(tuple(scenarios), output, fleets, first, processes, how)
    found = commands.run_teach(asked, shown=not json)
    if json:
        typer.echo(commands.as_json(found))
    else:
        typer.echo(", ".join(f"{name} {value}" for name, value in found.items()))


@app.command()
def calibrate(
    core: Annotated[
        float, typer.Option(help="Raspberry Pi 4 cores that one core here is worth; 1 on a Pi 4.")
    ] = 4.0,
    out: Annotated[Path | None, typer.Option(help="Write the costs (TOML) here.")] = None,
    *,
    adapter: Annotated[bool, typer.Option(help="Measure an adapter too.")] = True,
    limited: Annotated[
        str,
        typer.Option(help="Under the CPU quota that `run --engine processes` gives a board."),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure what circuits and adapters cost on this machine, for --costs of run and compare.

    Some seconds of CPU time. An adapter is measured where its extra and base model are installed;
    elsewhere its shipped figures stay. Work under a quota takes more CPU than work without pauses:
    use --limited with the fleet's slowest board before you compare engines.
    """
    from firmware_sim import calibrate as measuring
    from proto.files import write_whole

    def tell(what: str) -> None:
        typer.echo(f"measuring {what}", err=True)

    if limited:
        found = measuring.measure_as(limited, core, tell, adapter=adapter)
    else:
        found = measuring.measure(core, tell, adapter=adapter)
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
