"""Lines of a box's journal and its operator's notes, made up from templates (journal.toml).

A hidden fault is written about from its first moment, long before numbers show it. Healthy boxes
write too, and some of what they write only sounds bad: decoys, negated lines, lines about what is
over. Pure: the same client and moment give the same text. `HELD_OUT` families are for tests alone
of whatever learned to read from the others.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import resources
from itertools import count
from typing import Literal

import msgspec
from msgspec import Struct

from edge_client.redaction import MAX_LINE, redacted
from firmware_sim.chance import uniform
from firmware_sim.hidden import FAULTS, Fault
from firmware_sim.population import Client

Family = Literal["kernel", "daemon", "vendor", "operator", "terse", "ticket"]
Sort = Literal["sign", "negated", "stale", "routine", "decoy"]
FAMILIES: tuple[Family, ...] = ("kernel", "daemon", "vendor", "operator", "terse", "ticket")
HELD_OUT: tuple[Family, ...] = ("vendor", "ticket")
TAUGHT: tuple[Family, ...] = ("kernel", "daemon", "operator", "terse")
BY_PEOPLE: tuple[Family, ...] = ("operator", "terse", "ticket")
BY_MACHINES: tuple[Family, ...] = ("kernel", "daemon", "vendor")
WORDINGS: dict[str, tuple[Family, ...]] = {
    "all": FAMILIES,
    "taught": TAUGHT,
    "held-out": HELD_OUT,
}
"""A scenario's `wordings`."""

EVERY_S = 420.0
"""From one line to the next."""
NOTE_S = 4 * 3600.0
"""A note stands for so long."""
MANY_ODD, FEW_ODD = 0.4, 0.06
"""Shares of lines that only sound bad, of those who write many such and of all others."""
_DAY_S = 86400.0

_LINE, _TOPIC, _FAMILY, _TEMPLATE, _CHOICE, _SLOT, _NOTE, _AGE = range(41, 49)

SLOTS: dict[str, tuple[float, float, str]] = {
    "n": (1, 9, ".0f"),
    "many": (3, 60, ".0f"),
    "big": (10_000, 900_000, ".0f"),
    "bigmib": (300, 1900, ".0f"),
    "days": (9, 400, ".0f"),
    "low": (1, 14, ".0f"),
    "high": (78, 99, ".0f"),
    "lowv": (4.2, 4.62, ".2f"),
    "lowmv": (4200, 4620, ".0f"),
    "goodv": (4.92, 5.21, ".2f"),
    "goodmv": (4920, 5210, ".0f"),
    "hot": (76, 88, ".0f"),
    "cool": (38, 61, ".0f"),
    "rpm": (1300, 4800, ".0f"),
}
"""What a {slot} may be: (from, to, format)."""


class Line(Struct, frozen=True):
    """One entry. `topic` is the fault it is about, "" for routine lines and decoys."""

    text: str
    age_s: float
    sort: Sort
    topic: str
    family: Family

    def __str__(self) -> str:
        return f"{age(self.age_s)} ago: {self.text}"


def let_out(line: Line) -> str:
    """As a box lets it out, `edge_client.journal_tail` alike."""
    return f"{age(line.age_s)} ago: {_left(line.text)}"[:MAX_LINE].rstrip()


def by_machines(wordings: str) -> tuple[Family, ...]:
    """Families of a scenario's journals."""
    return tuple(family for family in WORDINGS[wordings] if family in BY_MACHINES)


def by_people(wordings: str) -> tuple[Family, ...]:
    """Families of its notes."""
    return tuple(family for family in WORDINGS[wordings] if family in BY_PEOPLE)


@cache
def templates() -> dict[str, dict[str, tuple[str, ...]]]:
    """By "topic.sort" (or "routine", "decoy"), then by family."""
    text = resources.files(__package__).joinpath("journal.toml").read_bytes()
    tables = msgspec.toml.decode(text, type=dict[str, dict[str, list[str] | dict[str, list[str]]]])
    flat: dict[str, dict[str, tuple[str, ...]]] = {}
    for topic, sorts in tables.items():
        for name, entry in sorts.items():
            if isinstance(entry, dict):
                flat[f"{topic}.{name}"] = {f: tuple(lines) for f, lines in entry.items()}
            else:
                flat.setdefault(topic, {})[name] = tuple(entry)
    return flat


@lru_cache(4096)
def write(sort: Sort, topic: str, family: Family, draw: int) -> str:
    """One wording of what the three say; each `draw` gives another."""
    choices = templates()[f"{topic}.{sort}" if topic else sort][family]
    template = choices[int(uniform(draw, _TEMPLATE) * len(choices))]
    return _filled(template, draw)


def tail(
    client: Client, at: float, lines: int = 6, families: Sequence[Family] = BY_MACHINES
) -> tuple[Line, ...]:
    """The last `lines` lines of the client's journal, the newest last."""
    newest = int(at // EVERY_S)
    return tuple(
        _line(client, number, at, families) for number in range(newest - lines + 1, newest + 1)
    )


def note(client: Client, at: float, families: Sequence[Family] = BY_PEOPLE) -> str:
    """What the operator has written, often nothing."""
    line = noted(client, at, families)
    return line.text if line else ""


def noted(client: Client, at: float, families: Sequence[Family] = BY_PEOPLE) -> Line | None:
    """The note, with what it is about."""
    number = int(at // NOTE_S)
    began = number * NOTE_S
    if uniform(client.seed, _NOTE, number) < silence(client.fault, began):
        return None
    sort, topic = _subject(client, began, -number - 1)
    draw = _mixed(client.seed, -number - 1)
    family = _family(families, draw)
    return Line(write(sort, topic, family, draw), at - began, sort, topic, family)


def silence(fault: Fault | None, at: float) -> float:
    """How likely an operator writes nothing."""
    return 0.45 if _ailing(fault, at) else 0.7


def likelihood(line: Line, at: float, fault: Fault | None, *, decoys: bool) -> float:
    """How likely a line written at this moment is of this sort and topic, were this the fault."""
    told = _talk(fault, at) if fault is not None and _ailing(fault, at) else 0.0
    if line.sort == "sign":
        return told if fault is not None and line.topic == fault.name else 0.0
    odd = MANY_ODD if decoys else FEW_ODD
    if line.sort == "routine":
        return (1 - told) * (1 - odd)
    share = (1 - told) * odd / 3
    if line.sort == "decoy":
        return share
    # Of an ailing box's other lines none is about its own fault.
    return share / len(FAULTS) if not told or fault is None or line.topic != fault.name else 0.0


def age(seconds: float) -> str:
    """A length of time in few letters."""
    for unit, size in (("d", _DAY_S), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@lru_cache(4096)
def _left(text: str) -> str:
    return redacted(text)


def _line(client: Client, number: int, at: float, families: Sequence[Family]) -> Line:
    began = number * EVERY_S
    sort, topic = _subject(client, began, number)
    draw = _mixed(client.seed, number)
    family = _family(families, draw)
    old = 0.0
    if sort == "stale" and uniform(draw, _AGE, 1) < 0.5:  # noqa: PLR2004
        # The very words of a fault of today, under a date long past.
        old = (9 + 300 * uniform(draw, _AGE, 2)) * _DAY_S
        return Line(write("sign", topic, family, draw), at - began + old, sort, topic, family)
    return Line(write(sort, topic, family, draw), at - began, sort, topic, family)


def _subject(client: Client, at: float, number: int) -> tuple[Sort, str]:
    """What a line written at this moment is about."""
    chance, fault = uniform(client.seed, _LINE, number), client.fault
    other = FAULTS[int(uniform(client.seed, _TOPIC, number) * len(FAULTS))]
    if fault is not None and _ailing(fault, at):
        told = _talk(fault, at)
        if chance < told:
            return "sign", fault.name
        chance = (chance - told) / (1 - told)
        other = other if other != fault.name else FAULTS[FAULTS.index(other) - 1]
    odd = MANY_ODD if client.decoys else FEW_ODD
    sorts: tuple[Sort, ...] = ("negated", "stale", "decoy")
    if chance >= odd:
        return "routine", ""
    sort = sorts[int(chance / odd * len(sorts))]
    return sort, "" if sort == "decoy" else other


def _ailing(fault: Fault | None, at: float) -> bool:
    return fault is not None and at >= fault.since


def _talk(fault: Fault, at: float) -> float:
    """Share of lines that tell of it: a third at first, more later."""
    return min(0.7, 0.35 + 0.35 * (at - fault.since) / (fault.lead_s + fault.grows_s))


def _family(families: Sequence[Family], draw: int) -> Family:
    return families[int(uniform(draw, _FAMILY) * len(families))]


def _mixed(seed: int, number: int) -> int:
    return int(uniform(seed, _CHOICE, number) * 2**53)


def _filled(template: str, draw: int) -> str:
    picks = count(1)

    def choice(match: re.Match[str]) -> str:
        choices = match[1].split("|")
        return choices[int(uniform(draw, _CHOICE, next(picks)) * len(choices))]

    def slot(match: re.Match[str]) -> str:
        low, high, form = SLOTS[match[1]]
        return format(low + (high - low) * uniform(draw, _SLOT, next(picks)), form)

    return re.sub(r"\{(\w+)\}", slot, re.sub(r"<([^<>]*\|[^<>]*)>", choice, template))
