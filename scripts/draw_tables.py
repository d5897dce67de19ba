"""Draws the state tables into docs/architecture.md, as Mermaid pictures.

`scripts/draw_tables.py` writes them, `--check` only says whether they are up to date.
"""

import re
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from coordinator import buffered, rounds
from coordinator.jobstate import Phase
from edge_client import session
from edge_client.state import Link, Work

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


Table = Mapping[Any, Any]
"""(state, event) to rule; the tables share no more than their shape."""


def arrows(table: Table, states: type[Enum]) -> list[str]:
    """One line for each pair of states that some event leads between, in the table's order."""
    order = list(states)
    found: dict[tuple[Enum, Enum], list[str]] = {}
    for (start, event), rule in table.items():
        ends = [end for end in rule.to if end is not start and isinstance(end, states)]
        for end in sorted(ends, key=order.index) if isinstance(start, states) else []:
            found.setdefault((start, end), []).append(event.__name__)
    return [f"{a.value} --> {b.value}: {', '.join(events)}" for (a, b), events in found.items()]


def session_picture() -> list[str]:
    """The box: two regions side by side."""
    link = ["[*] --> offline", *arrows(session.TABLE, Link)]
    work = ["[*] --> idle", *arrows(session.TABLE, Work)]
    inside = [*(f"    {line}" for line in link), "    --", *(f"    {line}" for line in work)]
    return ["stateDiagram-v2", "state box {", *inside, "}"]


def round_picture(table: Table) -> list[str]:
    """The job: one region, with an end."""
    inside = ["[*] --> waiting", *arrows(table, Phase), "finished --> [*]"]
    return ["stateDiagram-v2", *(f"    {line}" for line in inside)]


def drawn(page: str) -> str:
    """The page with all pictures put in anew."""
    pictures = {
        "session": session_picture(),
        "round": round_picture(rounds.TABLE),
        "buffered": round_picture(buffered.TABLE),
    }
    for name, lines in pictures.items():
        picture = "\n".join([f"<!-- {name} table -->", "```mermaid", *lines, "```", "<!-- end -->"])
        place = re.compile(rf"<!-- {name} table -->\n.*?<!-- end -->", re.DOTALL)
        if len(place.findall(page)) != 1:
            sys.exit(f"{PAGE} must have one place for the {name} table")
        page = place.sub(picture, page)
    return page


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    new = drawn(page)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(new, encoding="utf-8")
    elif new != page:
        sys.exit(f"{PAGE} shows other tables than the code has: run scripts/draw_tables.py")


if __name__ == "__main__":
    main()
