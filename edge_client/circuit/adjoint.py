"""Exact gradients by walking the circuit backwards once (Jones and Gacon 2020)."""

import numpy as np

from edge_client.circuit.engine import Pass
from edge_client.circuit.program import Float64s
from edge_client.circuit.steps import States


def gradient(done: Pass, slopes: Float64s) -> Float64s:
    """(weights,): sum over observables and rows of slopes (observables, rows) times d value / d w.

    Slopes are the loss's derivatives by `done.values`, so that this is the loss's gradient.
    """
    return done.engine.walk_back(done.program, _ends(done, slopes), done.weights, done.x)


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
