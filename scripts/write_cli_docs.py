"""Writes docs/cli.md from the commands themselves: `python scripts/write_cli_docs.py [--check]`."""

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from coordinator.cli import app as coordinator
from edge_client.cli import app as edge_client
from firmware_sim.cli import app as fleet
from quantization.cli import app as quantize

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
APPS = {
    "coordinator": coordinator,
    "edge-client": edge_client,
    "fleet": fleet,
    "quantize": quantize,
}
HEAD = """\
# Commands

Written by `scripts/write_cli_docs.py` from the commands themselves; edit the help there.

Every command takes `--help`. With `--json` a command prints one JSON value and nothing else.
[operations.md](operations.md) has the exit codes, the settings files and the environment.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, app in APPS.items():
        parts += _program(name, app)
    return "\n".join(parts)


def _program(name: str, app: typer.Typer) -> Iterator[str]:
    # Typer's command objects change their base classes between versions; what is read here stays.
    group: Any = get_command(app)
    yield f"## {name}\n\n{cleandoc(group.help or '')}\n"
    for command in group.commands.values():
        yield _command(f"{name} {command.name}", command)


def _command(name: str, command: Any) -> str:
    shown = [param for param in command.params if not param.hidden]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    options = [param for param in shown if param.param_type_name == "option"]
    usage = [name, *(_argument(param) for param in arguments), *(["[OPTIONS]"] if options else [])]
    if command.context_settings.get("allow_extra_args"):
        usage.append("[ARGS]...")
    lines = [f"### `{' '.join(usage)}`", "", cleandoc(command.help or ""), ""]
    rows = [(_argument(param).strip("[]"), param) for param in arguments]
    rows += [(_option(param), param) for param in options]
    if any(param.help for _, param in rows):
        lines += ["| | | default |", "|---|---|---|"]
        lines += [f"| `{what}` | {param.help or ''} | {_default(param)} |" for what, param in rows]
        lines.append("")
    return "\n".join(lines)


def _argument(param: Any) -> str:
    name = str(param.name).upper()
    return name if param.required else f"[{name}]"


def _option(param: Any) -> str:
    flags = ", ".join(param.opts)
    return flags if param.is_flag else f"{flags} {str(param.name).upper()}"


def _default(param: Any) -> str:
    if param.required or param.default is None or param.default is False or param.default == "":
        return ""
    return f"`{param.default}`"


def main() -> None:
    """Write the page, or with --check only say whether it is up to date."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        return
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.name} is out of date; run: python scripts/write_cli_docs.py", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
