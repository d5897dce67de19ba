"""Gates of other libraries by the gates of `proto.circuit`, up to a phase of the whole state."""

import math
from collections.abc import Callable, Sequence
from typing import get_args

import msgspec

from proto.circuit import Angle, Gate, GateName

Wires = tuple[int, ...]

SILENT = ("barrier", "measure", "id", "gphase", "global_phase")
"""They change no expectation value."""

LEAST = 1e-12
"""Radians below which a constant angle is none."""


def lowered(name: str, wires: Wires, angles: Sequence[Angle]) -> tuple[Gate, ...]:
    """The gate of this OpenQASM name by ours. Raises ValueError, with text, for one not known."""
    if name in OWN:
        angle = angles[0] if angles else None
        return (Gate(OWN[name], wires, angle),)
    if name not in COMPOSED:
        known = ", ".join(sorted({*OWN, *COMPOSED}))
        raise ValueError(f"no such gate here; known are {known}")
    return COMPOSED[name](wires, *angles)


def is_known(name: str) -> bool:
    """Whether `lowered` takes this name."""
    return name in OWN or name in COMPOSED


def _times(angle: Angle, factor: float) -> Angle:
    return msgspec.structs.replace(angle, scale=angle.scale * factor)


def _constant(radians: float) -> Angle:
    return Angle("constant", scale=radians)


def _controlled(turn: GateName, wires: Wires, angle: Angle) -> tuple[Gate, ...]:
    """A controlled RY or RZ: half forth and, where the control is on, half back."""
    flip, target = Gate("cx", wires), wires[1:]
    half, back = _times(angle, 0.5), _times(angle, -0.5)
    return Gate(turn, target, half), flip, Gate(turn, target, back), flip


def _crx(wires: Wires, angle: Angle) -> tuple[Gate, ...]:
    turn = Gate("h", wires[1:])
    return turn, *_controlled("rz", wires, angle), turn


def _cp(wires: Wires, angle: Angle) -> tuple[Gate, ...]:
    return Gate("p", wires[:1], _times(angle, 0.5)), *_controlled("rz", wires, angle)


def _cy(wires: Wires) -> tuple[Gate, ...]:
    return Gate("sdg", wires[1:]), Gate("cx", wires), Gate("s", wires[1:])


def _rxx(wires: Wires, angle: Angle) -> tuple[Gate, ...]:
    around = tuple(Gate("h", (wire,)) for wire in wires)
    return *around, Gate("rzz", wires, angle), *around


def _euler(wires: Wires, first: Angle, middle: Angle, last: Angle) -> tuple[Gate, ...]:
    """RZ, RY, RZ in time."""
    names: tuple[GateName, ...] = ("rz", "ry", "rz")
    turns = [(n, a) for n, a in zip(names, (first, middle, last), strict=True) if not _is_none(a)]
    return tuple(Gate(name, wires, angle) for name, angle in turns)


def _is_none(angle: Angle) -> bool:
    return angle.source == "constant" and abs(angle.scale) < LEAST


OWN: dict[str, GateName] = {name: name for name in get_args(GateName)}

COMPOSED: dict[str, Callable[..., tuple[Gate, ...]]] = {
    "u": lambda wires, theta, phi, lam: _euler(wires, lam, theta, phi),
    "u3": lambda wires, theta, phi, lam: _euler(wires, lam, theta, phi),
    "u1": lambda wires, lam: (Gate("p", wires, lam),),
    "rot": _euler,
    "sxdg": lambda wires: (Gate("rx", wires, _constant(-math.pi / 2)),),
    "cy": _cy,
    "cry": lambda wires, angle: _controlled("ry", wires, angle),
    "crz": lambda wires, angle: _controlled("rz", wires, angle),
    "crx": _crx,
    "cp": _cp,
    "rxx": _rxx,
}
