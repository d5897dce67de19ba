"""Which turns an observable can see: from the measurement back, as an observable would travel.

Going backwards each observable becomes a sum of Pauli strings. A turn whose generator commutes with
all of them changes no expectation value, whatever its angle. The strings held are never too few, so
that a turn called dead is proven dead; one that is not may still be.
"""

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

MAX_STRINGS = 256
"""With more, only a bound for each wire is followed: strings may quadruple with each qubit."""

NOTHING, DIAGONAL, ANY = 0, 1, 2
"""Bounds on what stands on a wire: I; I or Z; anything."""

ROUNDING = 1e-12
"""Radians."""

Pauli = tuple[int, int]
"""Bit masks over wires: where X (or Y) stands, where Z (or Y) stands."""

AXES = {"rx": "x", "ry": "y", "rz": "z", "p": "z", "t": "z", "tdg": "z", "rzz": "z"}
PHASES = ("z", "s", "sdg", "t", "tdg", "rz", "p", "cz", "rzz")
"""Diagonal gates: they commute with I and Z on all their wires."""

QUARTERS = {"s": "z", "sdg": "z", "sx": "x"}
"""Turns by a right angle: they take each string to one string."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a gate is to an observable; constant: its angle in radians, where that is known."""

    name: str
    wires: tuple[int, ...]
    constant: float | None = None


def seen(steps: Sequence[Step], observables: Iterable[Iterable[int]]) -> list[bool]:
    """For each step, whether some product of Z on an observable's wires may depend on its angle."""
    strings = {(0, sum(1 << wire for wire in wires)) for wires in observables}
    found: list[bool] = []
    for number in reversed(range(len(steps))):
        if len(strings) > MAX_STRINGS:
            return _seen_by_bounds(steps[: number + 1], strings) + found[::-1]
        step = steps[number]
        around = _generator(step)
        found.append(around is None or any(_clash(string, around) for string in strings))
        strings = _behind(step, around, strings)
    return found[::-1]


def _seen_by_bounds(steps: Sequence[Step], strings: set[Pauli]) -> list[bool]:
    x, z = (reduce(operator.or_, masks) for masks in zip(*strings, strict=True))
    held = {wire: ANY if x >> wire & 1 else z >> wire & 1 for wire in range((x | z).bit_length())}
    found: list[bool] = []
    for step in reversed(steps):
        before = [held.get(wire, NOTHING) for wire in step.wires]
        found.append(ANY in before if step.name in PHASES else any(before))
        held.update(zip(step.wires, _bounds_behind(step.name, before), strict=True))
    return found[::-1]


def _bounds_behind(name: str, held: list[int]) -> list[int]:
    if not any(held) or name in ("x", "y") or (name in PHASES and ANY not in held):
        return held
    if name == "swap":
        return held[::-1]
    if name == "cx":
        control, target = held
        # Z on the target becomes Z Z, X on the control becomes X X.
        return [max(control, DIAGONAL if target else NOTHING), ANY if control == ANY else target]
    if name in PHASES:
        # X on one wire becomes X Z: the other then holds a Z at least.
        return [max(one, DIAGONAL) for one in held]
    return [ANY] * len(held)


def _generator(step: Step) -> Pauli | None:
    axis = AXES.get(step.name) or QUARTERS.get(step.name)
    if axis is None:
        return None
    wires = sum(1 << wire for wire in step.wires)
    return wires if axis in "xy" else 0, wires if axis in "yz" else 0


def _clash(string: Pauli, other: Pauli) -> bool:
    """They do not commute: they differ, both not I, on an odd number of wires."""
    return ((string[0] & other[1]).bit_count() + (string[1] & other[0]).bit_count()) % 2 == 1


def _behind(step: Step, around: Pauli | None, strings: set[Pauli]) -> set[Pauli]:
    """The strings before the step."""
    if around is None:
        return {_moved(step, *string) for string in strings}
    turned = {(x ^ around[0], z ^ around[1]) for x, z in strings if _clash((x, z), around)}
    quarters = 1.0 if step.name in QUARTERS else _quarters(step.constant)
    if quarters is None:
        return strings | turned
    if quarters % 2 == 0:
        return strings
    return turned | {string for string in strings if not _clash(string, around)}


def _quarters(constant: float | None) -> float | None:
    """How many right angles a known angle is; None where it is none or no whole number of them."""
    if constant is None or not math.isfinite(constant):
        return None
    quarters = round(constant / (math.pi / 2))
    return quarters if abs(constant - quarters * math.pi / 2) < ROUNDING else None


def _moved(step: Step, x: int, z: int) -> Pauli:
    """A string through a gate that permutes strings, signs left aside."""
    first, last = step.wires[0], step.wires[-1]
    match step.name:
        case "h":
            differ = ((x ^ z) >> first & 1) << first
            return x ^ differ, z ^ differ
        case "cx":
            return x ^ (x >> first & 1) << last, z ^ (z >> last & 1) << first
        case "cz":
            return x, z ^ (x >> first & 1) << last ^ (x >> last & 1) << first
        case "swap":
            return _exchanged(x, first, last), _exchanged(z, first, last)
        case _:
            return x, z


def _exchanged(bits: int, first: int, last: int) -> int:
    differ = (bits >> first ^ bits >> last) & 1
    return bits ^ differ << first ^ differ << last
