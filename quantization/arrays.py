"""A model's parameters as named float32 arrays, and the same numbers as one vector.

A layout lists names and shapes in the manifest's order; both ends hold it, so only numbers travel.
"""

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]
Arrays = Mapping[str, Array]
Layout = tuple[tuple[str, tuple[int, ...]], ...]

MAX_ARRAYS = 1024
"""Arrays in one model: both LoRA halves of the 7 matrices of 70 blocks still fit."""

MAX_PARAMETERS = 2**24
"""Numbers in one model, 64 MiB of float32: what a box with 512 MB can hold a few times over."""


class BadArrays(ValueError):
    """Named arrays, or the bytes that should hold them, do not fit what was agreed."""


@lru_cache(maxsize=64)
def size(layout: Layout) -> int:
    """How many numbers a layout holds. Raises BadArrays where it breaks a cap or is nonsense."""
    if len(layout) > MAX_ARRAYS:
        raise BadArrays(f"{len(layout)} arrays; at most {MAX_ARRAYS} are accepted")
    if len({name for name, _ in layout}) != len(layout):
        raise BadArrays("two arrays of the layout have the same name")
    total = 0
    for name, shape in layout:
        if any(length < 0 for length in shape):
            raise BadArrays(f"array {name!r}: shape {shape} has a negative length")
        total += math.prod(shape)
    if total > MAX_PARAMETERS:
        raise BadArrays(f"{total} parameters; at most {MAX_PARAMETERS} are accepted")
    return total


def layout_of(arrays: Arrays) -> Layout:
    """The layout of these arrays, in their own order."""
    return tuple((name, array.shape) for name, array in arrays.items())


def draw(layout: Layout, spread: float, rng: Generator) -> dict[str, Array]:
    """A fresh model: each number uniform between minus spread and spread."""
    vector = rng.uniform(-spread, spread, size(layout)).astype(np.float32)
    return unflatten(vector, layout)


def flatten(arrays: Arrays, layout: Layout) -> Array:
    """All numbers as one float32 vector, in the layout's order.

    Raises BadArrays for other names, shapes or types than the layout's, and for NaN or infinity.
    """
    total = size(layout)
    _same_names(arrays, {name for name, _ in layout})
    vector = np.empty(total, np.float32)
    at = 0
    for name, shape in layout:
        array = arrays[name]
        if array.shape != shape:
            raise BadArrays(f"array {name!r} has shape {array.shape}; {shape} was agreed")
        _check_numbers(name, array)
        vector[at : at + array.size] = array.ravel()
        at += array.size
    return vector


def unflatten(vector: Array, layout: Layout) -> dict[str, Array]:
    """Named arrays from the vector `flatten` makes; each array is its own copy."""
    if vector.shape != (size(layout),):
        raise BadArrays(f"a vector of shape {vector.shape} cannot fill {size(layout)} parameters")
    arrays = {}
    at = 0
    for name, shape in layout:
        length = math.prod(shape)
        arrays[name] = vector[at : at + length].reshape(shape).copy()
        at += length
    return arrays


def delta(new: Arrays, old: Arrays) -> dict[str, Array]:
    """New minus old, array by array. Raises BadArrays where they do not match or overflow."""
    return _combine(new, old, -1.0)


def apply_delta(old: Arrays, change: Arrays) -> dict[str, Array]:
    """Old plus a change from `delta`. Raises BadArrays where they do not match or overflow."""
    return _combine(old, change, 1.0)


def _combine(left: Arrays, right: Arrays, sign: float) -> dict[str, Array]:
    _same_names(left, set(right))
    out = {}
    for name, array in left.items():
        if array.shape != right[name].shape:
            raise BadArrays(f"array {name!r} has shapes {array.shape} and {right[name].shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            out[name] = np.asarray(array + np.float32(sign) * right[name])
        _check_numbers(name, out[name])
    return out


def _same_names(arrays: Arrays, expected: set[str]) -> None:
    if missing := sorted(expected - set(arrays)):
        raise BadArrays(f"array {missing[0]!r} is missing")
    if unknown := sorted(set(arrays) - expected):
        raise BadArrays(f"array {unknown[0]!r} is not known here")


def _check_numbers(name: str, array: Array) -> None:
    if array.dtype != np.float32:
        raise BadArrays(f"array {name!r} holds {array.dtype}; float32 was agreed")
    if not np.isfinite(array).all():
        raise BadArrays(f"array {name!r} holds NaN or infinity")
