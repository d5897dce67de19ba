"""Gradient descent over named arrays: functions over explicit state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, Arrays

Moments = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class AdamState:
    """Steps done, and running means of the gradients and of their squares."""

    steps: int
    mean: Moments
    square: Moments


@dataclass(frozen=True, slots=True)
class Optimiser:
    """How arrays move along their gradient."""

    init: Callable[[Arrays], AdamState]
    step: Callable[[AdamState, Arrays, Arrays], tuple[AdamState, dict[str, Array]]]
    """Of state, arrays and gradient: the next state and arrays."""


def adam(
    learning_rate: float, decay: float = 0.9, square_decay: float = 0.999, floor: float = 1e-8
) -> Optimiser:
    """Adam (Kingma and Ba 2015), with its own names: beta1, beta2 and epsilon in this order."""

    def init(arrays: Arrays) -> AdamState:
        zeros = {name: np.zeros(array.shape) for name, array in arrays.items()}
        return AdamState(0, zeros, zeros)

    def step(state: AdamState, arrays: Arrays, grad: Arrays) -> tuple[AdamState, dict[str, Array]]:
        steps = state.steps + 1
        mean = {n: decay * state.mean[n] + (1 - decay) * g for n, g in grad.items()}
        square = {
            n: square_decay * state.square[n] + (1 - square_decay) * g.astype(np.float64) ** 2
            for n, g in grad.items()
        }
        rate, warm = learning_rate / (1 - decay**steps), 1 - square_decay**steps
        moved = {
            n: (array - rate * mean[n] / (np.sqrt(square[n] / warm) + floor)).astype(np.float32)
            for n, array in arrays.items()
        }
        return AdamState(steps, mean, square), moved

    return Optimiser(init, step)
