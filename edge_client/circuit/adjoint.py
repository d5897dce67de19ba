"""Exact gradients by walking the circuit backwards once (Jones and Gacon 2020)."""

import numpy as np

from edge_client.circuit.engine import Pass, States, step
from edge_client.circuit.program import GENERATORS, Float64s, Turn


def gradient(done: Pass, slopes: Float64s) -> Float64s:
    """(weights,): sum over observables and rows of slopes (observables, rows) times d value / d w.

    Slopes are the loss's derivatives by `done.values`, so that this is the loss's gradient.
    """
    out = np.zeros(done.program.weights)
    both = _ends(done, slopes)
    for op in reversed(done.program.body):
        if isinstance(op, Turn) and op.angle is not None and op.angle.source == "weight":
            out[op.angle.index] += op.angle.scale * _slope(op, both)
        both = step(op, both, done.weights, done.x, inverse=True)
    return out


def _ends(done: Pass, slopes: Float64s) -> States:
    """(2, 2^n, columns): ket and bra behind the last gate.

    In the operator picture the sum over rows is a matrix M of size 2^n, and both start from it:
    sum_rows <bra|W'GW|ket> = trace(G W M W'), as if the ket were M and the bra the identity.
    """
    pull = done.program.signs.T @ slopes
    if pull.shape[1] != done.final.shape[1]:
        pull = np.repeat(pull, 2, axis=1)
    bra = pull * done.final
    if done.operator:
        return np.stack([done.final @ bra.conj().T, np.eye(len(bra))])
    return np.stack([done.final, bra])


def _slope(op: Turn, both: States) -> float:
    """2 Re <bra|G|ket>, where G = dU/d(angle) U^-1 acts on one wire."""
    ket, bra = both.reshape(2, -1, 2, both.shape[-1] << op.wire)
    overlaps = np.matmul(bra.conj(), ket.swapaxes(1, 2)).sum(axis=0)
    return 2.0 * float((GENERATORS[op.name] * overlaps).sum().real)
