"""The clients of a scenario: each one's board, link, life, rows and hidden fault, by seed."""

import math
from collections.abc import Iterator

from msgspec import Struct, structs

from coordinator.taskfile import seconds
from firmware_sim.behaviour import PRESETS, Behaviour, Life, ambient_c, supply
from firmware_sim.boards import Board, Load, new_board, profiles, ram_free_mib, seconds_for, step
from firmware_sim.chance import seed_of, uniform
from firmware_sim.hidden import FAULTS, Effects, Fault, effects
from firmware_sim.links import Line, kind
from firmware_sim.scenario import Group, Hidden, Mix, Scenario
from firmware_sim.traces import family
from proto.messages import Resources

_ROWS, _FAULT, _SINCE, _DECOY, _ZONE, _CHARGE, _NOISY, _LEAD = range(21, 29)
SIZES = 4
"""Different numbers of rows in a group: boxes that hold equally many are trained together."""
PIECES = 10_000
"""Supply changes that are followed at most in one go."""


class Client(Struct, frozen=True, gc=False):
    """One client, as it is for the whole run. `number` counts from 1."""

    number: int
    name: str
    group: str
    board: str
    line: Line
    life: Life
    rows: int
    seed: int
    fault: Fault | None = None
    decoys: bool = False
    noisy: bool = False


def populate(scenario: Scenario, seed: int) -> tuple[Client, ...]:
    """All clients, in the order of the file's groups. Same scenario and seed: same clients."""
    clients: list[Client] = []
    for group in scenario.group:
        boards = _deal(group.board, group.count, seed_of(seed, group.name, "boards"))
        lines = _deal(group.link, group.count, seed_of(seed, group.name, "links"))
        for board, link in zip(boards, lines, strict=True):
            clients.append(_client(scenario, group, (board, link), seed, len(clients) + 1))
    return tuple(clients)


def first_board(client: Client) -> Board:
    """The client's board as it is when the fleet starts."""
    low, high = client.life.behaviour.start_charge
    charge = low + (high - low) * uniform(client.seed, _CHARGE)
    return new_board(client.board, charge, ambient_c(client.life, 0.0))


def load_at(client: Client, at: float, cpu: float = 0.0) -> tuple[Load, float]:
    """(what the board bears from now on, until when that holds)."""
    watts, until = supply(client.life, at)
    now = effects(client.fault, at)
    load = Load(
        cpu=cpu,
        supply_w=watts,
        ambient_c=ambient_c(client.life, at),
        cap=now.cap,
        heat=now.heat,
        wear=now.wear,
    )
    return load, until


def advance(client: Client, board: Board, span: tuple[float, float], cpu: float = 0.0) -> Board:
    """The board at the end of a span (from, until) in which it bore `cpu`."""
    for load, start, end in _pieces(client, span, cpu):
        board = step(board, load, end - start)
    return board


def finishes(client: Client, board: Board, at: float, work: float) -> float:
    """When one core is through with `work` Pi 4 core-seconds; inf if the board goes off first."""
    now, cpu = at, 1 / board.profile.cores
    for load, start, end in _pieces(client, (at, math.inf), cpu):
        taken = seconds_for(board, load, work)
        if start + taken <= end:
            return start + taken
        before = board.worked_s
        board = step(board, load, end - start)
        work -= board.worked_s - before
        now = end
        if board.off:
            break
    return math.inf if board.off or work > 0 else now


def readings(client: Client, board: Board, at: float, note: str = "") -> Resources:
    """What the box itself would report now. Hidden faults show here late, or never."""
    now = effects(client.fault, at)
    battery = board.battery
    watts, _ = supply(client.life, at)
    return Resources(
        battery=battery,
        charging=None if battery is None else watts > 0,
        ram_free_mib=ram_free_mib(board, now.ram_mib),
        cpu_load=0,
        temperature_c=round(board.temperature_c),
        disk_free_mib=int(board.profile.flash_gib * 1024 * 0.6),
        note=note,
    )


def ailing(client: Client, at: float) -> Effects:
    """What the client's hidden fault does now."""
    return effects(client.fault, at)


def _pieces(
    client: Client, span: tuple[float, float], cpu: float
) -> Iterator[tuple[Load, float, float]]:
    at, until = span
    for _ in range(PIECES):
        if at >= until:
            return
        load, holds = load_at(client, at, cpu)
        end = min(until, max(holds, at + 1.0))
        yield load, at, end
        at = end


def _client(
    scenario: Scenario, group: Group, parts: tuple[str, str], seed: int, number: int
) -> Client:
    own = seed_of(seed, "client", number)
    behaviour = group.behaviour
    lived = behaviour if isinstance(behaviour, Behaviour) else PRESETS[behaviour]
    board, link = parts
    if not profiles()[board].battery_wh and lived.charging in ("nightly", "now-and-then"):
        lived = structs.replace(lived, charging="mains")
    zone = lived.zones_h * 3600 * uniform(own, _ZONE)
    fault = _fault(scenario.hidden, own)
    kind_ = kind(link)
    traces = family(kind_.traces)
    trace = traces[own % len(traces)] if traces else ()
    metered = fault.since if fault and fault.name == "metered-link" else math.inf
    low, high = group.rows
    return Client(
        number=number,
        name=f"c{number:06d}",
        group=group.name,
        board=board,
        line=Line(kind_, own, trace, metered),
        life=Life(lived, own, scenario.day_start_s + zone),
        rows=low + round((high - low) * int(SIZES * uniform(own, _ROWS)) / (SIZES - 1)),
        seed=own,
        fault=fault,
        decoys=uniform(own, _DECOY) < scenario.hidden.decoys,
        noisy=uniform(own, _NOISY) < scenario.work.noisy,
    )


def _fault(hidden: Hidden, own: int) -> Fault | None:
    draw = uniform(own, _FAULT)
    for name in FAULTS:
        share = getattr(hidden, name.replace("-", "_"))
        if draw < share:
            within = seconds(hidden.within)
            since = within * (2 * uniform(own, _SINCE) - 1)
            return Fault(name, since, lead_s=1800.0 * (0.5 + uniform(own, _LEAD)))
        draw -= share
    return None


def _deal(mix: Mix, count: int, seed: int) -> list[str]:
    """Names by weight, exact up to rounding (largest remainder), in an order drawn by lot."""
    if isinstance(mix, str):
        return [mix] * count
    whole = sum(mix.values())
    shares = {name: count * weight / whole for name, weight in mix.items()}
    dealt = {name: int(share) for name, share in shares.items()}
    rest = sorted(mix, key=lambda name: dealt[name] - shares[name])
    for name in rest[: count - sum(dealt.values())]:
        dealt[name] += 1
    names = [name for name, number in dealt.items() for _ in range(number)]
    order = sorted(range(count), key=lambda at: uniform(seed, at))
    return [names[at] for at in order]
