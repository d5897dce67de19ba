"""A circuit whose every angle is a number of its own, so that all backends see one kind of input.

Features, weights and products are worked out here, once for all machines. A weight that several
gates read becomes several angles, each of which can be shifted alone.
"""

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_client.circuit.program import Float64s, angle_value
from proto.circuit import Angle, Circuit

NO_WEIGHTS = np.empty(0)


@dataclass(frozen=True, eq=False, slots=True)
class Unrolled:
    """`circuit` reads angle k as feature k; `sources` says where each angle came from."""

    circuit: Circuit
    sources: tuple[Angle, ...]
    weights: int

    @property
    def trained(self) -> NDArray[np.intp]:
        """Which angles come from weights."""
        return np.array([k for k, a in enumerate(self.sources) if a.source == "weight"], np.intp)

    def angles(self, x: Float64s, weights: Float64s) -> Float64s:
        """Of features (rows, features) and weight sets (sets, weights): (sets, rows, angles)."""
        out = np.empty((len(weights), len(x), len(self.sources)))
        for k, source in enumerate(self.sources):
            if source.source == "weight":
                out[:, :, k] = source.scale * weights[:, source.index, None]
            else:
                out[:, :, k] = angle_value(source, NO_WEIGHTS, x)
        return out

    def shifted(self, angles: Float64s) -> Float64s:
        """(rows, angles) as they are, then each trained angle a quarter turn ahead, then behind.

        (1 + 2 * trained, rows, angles): what the parameter-shift rule measures, for one job.
        """
        places = self.trained
        out = np.repeat(angles[None], 1 + 2 * len(places), axis=0)
        for number, place in enumerate(places, 1):
            out[number, :, place] += np.pi / 2
            out[number + len(places), :, place] -= np.pi / 2
        return out

    def gradient(self, slopes: Float64s, values: Float64s) -> Float64s:
        """(weights,): the loss's gradient, by the parameter-shift rule (Schuld et al. 2019).

        slopes (rows, observables) are the loss's by the values; values (1 + 2 * trained, rows,
        observables) those of `shifted`.
        """
        places, out = self.trained, np.zeros(self.weights)
        ahead, behind = values[1 : 1 + len(places)], values[1 + len(places) :]
        by_angle = ((ahead - behind) * slopes / 2).sum(axis=(1, 2))
        for place, slope in zip(places.tolist(), by_angle.tolist(), strict=True):
            source = self.sources[place]
            out[source.index] += source.scale * slope
        return out


def unroll(circuit: Circuit) -> Unrolled:
    """The circuit with each angle that is no constant as a feature of its own."""
    gates, sources = [], list[Angle]()
    for gate in circuit.gates:
        if gate.angle is None or gate.angle.source == "constant":
            gates.append(gate)
        else:
            gates.append(replace(gate, angle=Angle("feature", len(sources))))
            sources.append(gate.angle)
    bare = replace(circuit, gates=tuple(gates), features=len(sources), weights=0)
    return Unrolled(bare, tuple(sources), circuit.weights)
