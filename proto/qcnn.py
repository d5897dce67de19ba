"""The quantum convolutional network of Qiskit's tutorial, as a gate list (Cong et al. 2019).

Convolutions mix neighbours, poolings move what half of the qubits know to the other half, until one
qubit is left. For 4 and 8 qubits.
"""

import math
from collections.abc import Iterator, Sequence

from proto.ansatz import assemble, without_dead, z_feature_map
from proto.circuit import Angle, Circuit, Gate

SIZES = (4, 8)

QUARTER = Angle("constant", scale=math.pi / 2)
BACK = Angle("constant", scale=-math.pi / 2)


def qcnn(qubits: int) -> tuple[Gate, ...]:
    """The tutorial's ansatz of 4 or 8 qubits, weights in its order: 27 or 63.

    Some are dead: the RZ of each pooling, on the qubit left behind, since all that follows there is
    the control of a CX; and both RZ of the last convolutions. `without_dead` takes them out.
    """
    return tuple(_layers(list(range(qubits)), 0))


def qcnn_circuit(qubits: int, classes: int = 2, encoding: Sequence[Gate] | None = None) -> Circuit:
    """Encoding (the tutorial's Z feature map), ansatz, and an observable for each class.

    22 or 54 weights, none of them dead. The observables are <Z> of the qubit left in the end, of
    the one pooled last, and so on
    backwards: classes must not share one, or no head could tell them apart. So there are at most as
    many classes as qubits.
    """
    first = z_feature_map(qubits) if encoding is None else encoding
    observables = [(qubits - 1 - number,) for number in range(classes)]
    return without_dead(assemble(qubits, (*first, *qcnn(qubits)), observables))


def _layers(wires: list[int], first: int) -> Iterator[Gate]:
    if len(wires) == 1:
        return
    ring = [*zip(wires[::2], wires[1::2], strict=True)]
    ring += zip(wires[1::2], [*wires[2::2], wires[0]], strict=True)
    for pair in ring:
        yield from _convolution(*pair, first)
        first += 3
    half = len(wires) // 2
    for source, sink in zip(wires[:half], wires[half:], strict=True):
        yield from _pooling(source, sink, first)
        first += 3
    yield from _layers(wires[half:], first)


def _convolution(low: int, high: int, first: int) -> Iterator[Gate]:
    yield from _pooling(low, high, first)
    yield Gate("cx", (high, low))
    yield Gate("rz", (low,), QUARTER)


def _pooling(source: int, sink: int, first: int) -> Iterator[Gate]:
    yield Gate("rz", (sink,), BACK)
    yield Gate("cx", (sink, source))
    yield Gate("rz", (source,), Angle("weight", first))
    yield Gate("ry", (sink,), Angle("weight", first + 1))
    yield Gate("cx", (source, sink))
    yield Gate("ry", (sink,), Angle("weight", first + 2))
