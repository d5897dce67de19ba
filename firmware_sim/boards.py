"""Boards: how fast they work, how hot they get, how long they last. Pure and closed-form.

A board is advanced only when something happens to it: `step` takes any length of time in at most a
few phases (heating up, held at the throttling limit, battery empty, charging until it boots).
Work is counted in seconds of one Raspberry Pi 4 core. The thermal model is one resistance and one
capacity: C dT/dt = P - (T - ambient) / R. Profiles and where their numbers come from: boards.toml.
"""

import math
from collections.abc import Iterator
from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from proto.errors import ConfigError

BOOT_SHARE = 0.05
"""A board that ran empty starts again at this share of its battery."""
_FOR_EVER = math.inf


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of board. `boards.toml` cites the source of every number."""

    label: str
    cores: int
    speed: float
    """Of one core, with a Raspberry Pi 4's as 1."""
    ram_mib: int
    system_mib: int
    """Memory that the system itself takes."""
    idle_w: float
    busy_w: float
    """Watts on top of `idle_w` with all cores busy; linear in between."""
    heat_r: float
    """K/W from the chip to the air, by the board's whole power."""
    heat_s: float
    """Time constant R C in seconds."""
    throttle_c: float
    """Above this, it works only as fast as keeps it there ..."""
    floor: float
    """... but never slower than this share."""
    battery_wh: float
    """0 for a board on mains."""
    charger_w: float
    radio_nj_bit: float
    flash_gib: float
    flash_cycles: int
    """Times the whole flash can be written."""
    sources: dict[str, str]


class Load(Struct, frozen=True, kw_only=True, gc=False):
    """What a board has to bear for some time. The last three are how hidden faults bite."""

    cpu: float = 0.0
    """Share of all cores that is wanted."""
    supply_w: float = math.inf
    """What comes in from outside; a board without battery needs it, one with it charges."""
    write_mib_s: float = 0.0
    ambient_c: float = 22.0
    cap: float = 1.0
    """Share of its speed the firmware allows (0.4 under-voltage)."""
    heat: float = 1.0
    """Factor on the thermal resistance (a blocked fan)."""
    wear: float = 1.0
    """Factor on flash wear (a dying card)."""


class Board(Struct, frozen=True, gc=False):
    """One board at one moment."""

    profile: Profile
    temperature_c: float
    charge_j: float
    """In its battery; 0 without one."""
    used_j: float = 0.0
    """Energy used since the start, wherever it came from."""
    worked_s: float = 0.0
    """Work done since the start, in seconds of a Raspberry Pi 4 core."""
    written_mib: float = 0.0
    off: bool = False
    """The battery ran empty, or there is no supply."""
    deaths: int = 0
    """How often its battery ran empty."""

    @property
    def battery(self) -> int | None:
        """Per cent, None for a board on mains."""
        if not self.profile.battery_wh:
            return None
        return round(100 * self.charge_j / (3600 * self.profile.battery_wh))

    @property
    def worn(self) -> float:
        """Share of the flash's life that is gone."""
        profile = self.profile
        return self.written_mib / (1024 * profile.flash_gib * profile.flash_cycles)


class _Phase(Struct, frozen=True, gc=False):
    """A time in which nothing about a board changes its law."""

    seconds: float
    work: float
    """Raspberry Pi 4 core-seconds per second."""
    watts: float
    settles_c: float
    tau: float
    charges_w: float
    ends: str = ""
    """What happens at its end: "hot", "empty", "full", "boots"; nothing if it never ends."""


@cache
def profiles() -> dict[str, Profile]:
    """Every board of boards.toml by name."""
    text = resources.files(__package__).joinpath("boards.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Profile])


def new_board(name: str, charge: float = 1.0, ambient_c: float = 22.0) -> Board:
    """A board that has been idle. `charge` is a share of its battery. Raises ConfigError."""
    if name not in profiles():
        raise ConfigError(f"no board {name!r}; there are: {', '.join(profiles())}")
    profile = profiles()[name]
    warm = ambient_c + profile.heat_r * profile.idle_w
    return Board(profile, min(warm, profile.throttle_c), charge * 3600 * profile.battery_wh)


def step(board: Board, load: Load, dt: float) -> Board:
    """The board after `dt` seconds under `load`."""
    for phase in _phases(board, load):
        spent = min(dt, phase.seconds)
        board = _after(board, load, phase, spent)
        dt -= spent
        if dt <= 0:
            break
    return board


def seconds_for(board: Board, load: Load, work: float) -> float:
    """How long `work` Pi 4 core-seconds take from now; inf if the board gives out before."""
    passed = 0.0
    for phase in _phases(board, load):
        if phase.work and phase.work * phase.seconds >= work:
            return passed + work / phase.work
        if not phase.work or phase.ends in ("", "empty"):
            return _FOR_EVER
        work -= phase.work * phase.seconds
        passed += phase.seconds
    return _FOR_EVER


def lasts(board: Board, load: Load) -> float:
    """Seconds until the board goes off under `load`; inf if it does not."""
    passed = 0.0
    for phase in _phases(board, load):
        passed += phase.seconds
        if phase.ends == "empty":
            return passed
        if not phase.ends:
            break
    return _FOR_EVER


def spend(board: Board, joules: float) -> Board:
    """The board after something sudden took energy, such as a transfer."""
    left = max(0.0, board.charge_j - joules)
    died = bool(board.profile.battery_wh) and not left and not board.off
    return msgspec.structs.replace(
        board,
        charge_j=left,
        used_j=board.used_j + joules,
        off=board.off or died,
        deaths=board.deaths + died,
    )


def transfer_j(profile: Profile, size: int) -> float:
    """Energy for `size` bytes over the board's radio."""
    return size * 8 * profile.radio_nj_bit * 1e-9


def ram_free_mib(board: Board, taken_mib: float = 0.0) -> int:
    """Memory that a training may use."""
    profile = board.profile
    return max(0, int(profile.ram_mib - profile.system_mib - taken_mib))


def _phases(board: Board, load: Load) -> Iterator[_Phase]:
    while True:
        phase = _dark(board, load) if board.off else _lit(board, load)
        yield phase
        if not phase.ends:
            return
        board = _after(board, load, phase, phase.seconds)


def _dark(board: Board, load: Load) -> _Phase:
    """Off: it cools, and charges if it can until it boots."""
    profile = board.profile
    tau = profile.heat_s * load.heat
    if not profile.battery_wh:
        enough = load.supply_w >= profile.idle_w
        seconds, ends = (0.0, "boots") if enough else (_FOR_EVER, "")
        return _Phase(seconds, 0.0, 0.0, load.ambient_c, tau, 0.0, ends)
    coming = min(load.supply_w, profile.charger_w)
    missing = BOOT_SHARE * 3600 * profile.battery_wh - board.charge_j
    seconds = max(0.0, missing / coming) if coming else _FOR_EVER
    return _Phase(seconds, 0.0, 0.0, load.ambient_c, tau, coming, "boots" if coming else "")


def _lit(board: Board, load: Load) -> _Phase:
    """On: as fast as heat allows, until it is hot, empty or full."""
    profile, tau = board.profile, board.profile.heat_s * load.heat
    share, settles = _throttled(board, load)
    watts = profile.idle_w + profile.busy_w * load.cpu * share
    seconds, ends = _FOR_EVER, ""
    if settles > profile.throttle_c > board.temperature_c:
        rise = settles - board.temperature_c
        seconds, ends = tau * math.log(rise / (settles - profile.throttle_c)), "hot"
    charges = 0.0
    if profile.battery_wh:
        charges = min(load.supply_w, profile.charger_w) - watts
        full = 3600 * profile.battery_wh
        if charges < 0 and board.charge_j / -charges <= seconds:
            seconds, ends = board.charge_j / -charges, "empty"
        elif charges > 0 and board.charge_j >= full:
            charges = 0.0
        elif charges > 0 and (full - board.charge_j) / charges < seconds:
            seconds, ends = (full - board.charge_j) / charges, "full"
    elif load.supply_w < profile.idle_w:
        seconds, ends = 0.0, "empty"
    work = profile.speed * profile.cores * load.cpu * share
    return _Phase(seconds, work, watts, settles, tau, charges, ends)


def _throttled(board: Board, load: Load) -> tuple[float, float]:
    """Share of its speed, and the temperature it would settle at."""
    profile, r = board.profile, board.profile.heat_r * load.heat
    share = load.cap
    settles = load.ambient_c + r * (profile.idle_w + profile.busy_w * load.cpu * share)
    if board.temperature_c >= profile.throttle_c and settles > profile.throttle_c and load.cpu:
        allowed = (profile.throttle_c - load.ambient_c) / r - profile.idle_w
        held = max(profile.floor, allowed / (profile.busy_w * load.cpu))
        share = min(share, held)
        settles = load.ambient_c + r * (profile.idle_w + profile.busy_w * load.cpu * share)
        settles = max(settles, profile.throttle_c)
    return share, settles


def _after(board: Board, load: Load, phase: _Phase, dt: float) -> Board:
    profile, ends = board.profile, phase.ends if dt >= phase.seconds else ""
    cooled = math.exp(-dt / phase.tau) if dt else 1.0
    temperature = phase.settles_c + (board.temperature_c - phase.settles_c) * cooled
    charge = board.charge_j + phase.charges_w * dt if phase.charges_w else board.charge_j
    if ends == "hot":
        temperature = profile.throttle_c
    if ends == "empty":
        charge = 0.0
    if ends == "full":
        charge = 3600 * profile.battery_wh
    return Board(
        profile,
        temperature,
        max(0.0, charge),
        board.used_j + phase.watts * dt,
        board.worked_s + phase.work * dt,
        board.written_mib + (0.0 if board.off else load.write_mib_s * load.wear * dt),
        ends == "empty" or (board.off and ends != "boots"),
        board.deaths + (ends == "empty" and profile.battery_wh > 0),
    )
