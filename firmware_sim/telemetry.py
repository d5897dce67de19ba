"""A task made of emulated boards: journal lines and sensors tell whether one fails in the hour.

Each box watches boards of its own, of one maker and with troubles of their own, so that boxes hold
different words and different faults. Pure: the same seed gives the same rows. A board is watched
while it works; it fails when, within the hour, it crashes, loses what it writes, runs out of memory
or is throttled below MIN_SPEED.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from edge_client.dataset import Table
from firmware_sim.chance import exponential, seed_of, uniform
from firmware_sim.hidden import FAULTS
from firmware_sim.journal import BY_MACHINES, Family, tail
from firmware_sim.population import Client, advance, ailing, first_board, populate, readings
from firmware_sim.scenario import Group, Hidden, Scenario
from firmware_sim.splits import Split
from proto.errors import ConfigError

CLASSES = ("holds", "fails")
COLUMNS = ("temperature", "memory", "load")
"""Degrees Celsius, MiB free, per cent."""
QUESTION = (
    "{text}\nNow {temperature} C, {memory} MiB free, load {load} %.\n"
    "Will this board fail within the hour? Answer:"
)
"""How a language model is asked; its answers are " no" and " yes"."""

LINES = 3
HOUR_S = 3600.0
WATCHED_S = 12 * HOUR_S
LOOKS = 12
"""How often an hour is looked at."""
MIN_MEMORY_MIB = 60
MIN_SPEED = 0.7
WRITES_PER_H = 6.0
BOARDS = {"pi-zero-2w": 1.0, "pi-3b-plus": 1.0, "pi-4": 1.0}
COMMON, RARE = 0.3, 0.05
"""Share of a box's boards that have a fault it often sees, or another."""
MAX_LOOKS = 400
"""Moments tried for each row that is wanted."""

_AT, _LOAD, _CRASH, _WRITE, _CPU = range(61, 66)


class Row(NamedTuple):
    """One moment of one board."""

    text: str
    sensors: tuple[float, float, float]
    fails: bool


def telemetry(boxes: int, rows: int, seed: int, test: int = 40) -> tuple[Table, Split]:
    """Rows for each box, half of them of boards about to fail, and test rows of the same kind.

    Test rows are of other boards than any box watches. Raises ConfigError for numbers too small.
    """
    if boxes < 1 or rows < 2 or test < 2:  # noqa: PLR2004 - one of each class
        raise ConfigError("telemetry takes a box or more, and at least two rows of each split")
    held: list[Row] = []
    places: list[list[np.ndarray]] = [[], []]
    for box in range(boxes):
        for split, count in enumerate((rows, test)):
            start = len(held)
            held += watched(box, count, seed_of(seed, "telemetry", box, split))
            places[split].append(np.arange(start, len(held), dtype=np.intp))
    table = Table(
        X=np.array([row.sensors for row in held]),
        y=np.array([row.fails for row in held], np.int64),
        columns=COLUMNS,
        classes=CLASSES,
        texts=tuple(row.text for row in held),
    )
    return table, Split(tuple(places[0]), tuple(places[1]))


def watched(box: int, rows: int, seed: int) -> list[Row]:
    """Rows of one box's boards, as many of each class, in an order that tells nothing."""
    families = _families(box)
    wanted = {True: rows // 2, False: rows - rows // 2}
    found: list[Row] = []
    for client, at, cpu in _moments(box, rows, seed):
        fate = fails(client, at, cpu)
        if wanted[fate]:
            wanted[fate] -= 1
            found.append(Row(*_shown(client, (at, cpu), families), fate))
        if not any(wanted.values()):
            return found
    raise ConfigError(f"box {box + 1} sees no {rows} rows of both kinds")


def fails(client: Client, at: float, cpu: float) -> bool:
    """Whether the board, working at this share of its CPU, fails within the hour from `at`."""
    board = advance(client, first_board(client), (0.0, at), cpu)
    # What breaks it was drawn beforehand, so that a fault that is twice as bad breaks it sooner.
    crash = exponential(client.seed, 1.0, _CRASH, int(at))
    write = exponential(client.seed, 1.0, _WRITE, int(at))
    for look in range(1, LOOKS + 1):
        start, end = at + (look - 1) * HOUR_S / LOOKS, at + look * HOUR_S / LOOKS
        before, board = board.worked_s, advance(client, board, (start, end), cpu)
        now = ailing(client, end)
        crash -= now.crash_per_h / LOOKS
        write -= WRITES_PER_H * now.loses_update / LOOKS
        free = readings(client, board, end).ram_free_mib or 0
        full = board.profile.speed * board.profile.cores * cpu * (end - start)
        slow = board.worked_s - before < MIN_SPEED * full
        if crash < 0 or write < 0 or free < MIN_MEMORY_MIB or slow or board.off:
            return True
    return False


def _moments(box: int, rows: int, seed: int) -> Iterator[tuple[Client, float, float]]:
    clients = populate(_scenario(box, rows), seed)
    for number in range(MAX_LOOKS * rows):
        client = clients[number % len(clients)]
        at = WATCHED_S * (0.1 + 0.9 * uniform(client.seed, _AT, number))
        yield client, at, 0.25 + 0.5 * uniform(client.seed, _CPU, number)


def _scenario(box: int, boards: int) -> Scenario:
    """A site: two kinds of trouble are common there, the others rare."""
    common = {FAULTS[box % len(FAULTS)], FAULTS[(box + 1) % len(FAULTS)]}
    shares = {f.replace("-", "_"): COMMON if f in common else RARE for f in FAULTS}
    hidden = Hidden(**shares, decoys=0.4, within="10h")
    group = Group(name="watched", count=boards, board=BOARDS)
    return Scenario(name=f"site {box + 1}", group=(group,), hidden=hidden)


def _families(box: int) -> tuple[Family, ...]:
    """A site's makers: two of the three wordings."""
    left_out = box % len(BY_MACHINES)
    return tuple(f for number, f in enumerate(BY_MACHINES) if number != left_out)


def _shown(
    client: Client, moment: tuple[float, float], families: tuple[Family, ...]
) -> tuple[str, tuple[float, float, float]]:
    """What the board shows at that moment: its text and its sensors."""
    at, cpu = moment
    board = advance(client, first_board(client), (0.0, at), cpu)
    told = readings(client, board, at)
    text = "\n".join(line.text for line in tail(client, at, LINES, families))
    sensors = (
        float(told.temperature_c or 0),
        float(told.ram_free_mib or 0),
        float(round(100 * cpu)),
    )
    return text, sensors
