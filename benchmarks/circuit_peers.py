"""The same circuit, loss and gradient by other libraries, for `circuit.py`; imported late."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto.circuit import Angle, Circuit

Floats = NDArray[np.float64]
Objective = Callable[[Floats], float]
Gradient = Callable[[Floats], Floats]

SHOTS = 1024


def qiskit_circuit(qubits: int) -> tuple[Any, list[Any], list[Any]]:
    """ZZ feature map and RealAmplitudes by Qiskit's own functions, with their parameters."""
    from qiskit.circuit.library import real_amplitudes, zz_feature_map

    first, then = zz_feature_map(qubits, reps=1), real_amplitudes(qubits, reps=3)
    return first.compose(then), list(first.parameters), list(then.parameters)


def parity(outcome: int) -> int:
    return outcome.bit_count() % 2


def sampler_objective(x: Floats, y: NDArray[np.intp], *, shots: bool) -> Objective:
    """qiskit-machine-learning's SamplerQNN: exact (its default), or Aer's sampler with shots."""
    from qiskit_machine_learning.neural_networks import SamplerQNN

    circuit, features, weights = qiskit_circuit(x.shape[1])
    more: dict[str, Any] = {}
    if shots:
        from qiskit_aer.primitives import SamplerV2

        circuit.measure_all()
        more["sampler"] = SamplerV2(default_shots=SHOTS)
    network = SamplerQNN(
        circuit=circuit,
        input_params=features,
        weight_params=weights,
        interpret=parity,
        output_shape=2,
        **more,
    )
    return lambda w: _cross_entropy(network.forward(x, w)[:, 1], y)


def estimator_objective(x: Floats, y: NDArray[np.intp]) -> Objective:
    """qiskit-machine-learning's EstimatorQNN, exact."""
    from qiskit.primitives import StatevectorEstimator
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_machine_learning.neural_networks import EstimatorQNN

    circuit, features, weights = qiskit_circuit(x.shape[1])
    network = EstimatorQNN(
        circuit=circuit,
        estimator=StatevectorEstimator(),
        observables=SparsePauliOp("Z" * x.shape[1]),
        input_params=features,
        weight_params=weights,
        default_precision=0.0,
    )
    return lambda w: _cross_entropy((1 - network.forward(x, w)[:, 0]) / 2, y)


def vqc_fit(x: Floats, y: NDArray[np.intp], start: Floats, evaluations: int) -> list[float]:
    """Losses of qiskit-machine-learning's VQC.fit by COBYLA, in bits."""
    from qiskit.circuit.library import real_amplitudes, zz_feature_map
    from qiskit_machine_learning.algorithms import VQC
    from qiskit_machine_learning.optimizers import COBYLA

    losses: list[float] = []
    # Without `interpret` VQC reads one qubit only, not the parity its documentation promises.
    VQC(
        feature_map=zz_feature_map(x.shape[1], reps=1),
        ansatz=real_amplitudes(x.shape[1], reps=3),
        optimizer=COBYLA(maxiter=evaluations),
        interpret=parity,
        output_shape=2,
        initial_point=start,
        callback=lambda _, loss: losses.append(loss),
    ).fit(x, y)
    return losses


def cobyla(objective: Objective, start: Floats, evaluations: int) -> None:
    """The optimiser object of `vqc_fit`, on our objective."""
    from qiskit_machine_learning.optimizers import COBYLA

    COBYLA(maxiter=evaluations).minimize(objective, start)


def lightning_gradient(circuit: Circuit, x: Floats, y: NDArray[np.intp]) -> Gradient:
    """PennyLane's lightning.qubit with the adjoint method, all rows as one broadcast."""
    import pennylane as qml
    from pennylane import numpy as pnp

    device = qml.device("lightning.qubit", wires=circuit.qubits)
    node = qml.QNode(_tape(circuit, x, qml), device, diff_method="adjoint")

    def loss(w: Any) -> Any:
        return -pnp.mean(pnp.log((1 + _signs(y) * node(w)) / 2))

    slope = qml.grad(loss)
    return lambda w: np.asarray(slope(pnp.array(w, requires_grad=True)))


def jax_gradient(circuit: Circuit, x: Floats, y: NDArray[np.intp]) -> Gradient:
    """jax.jit over PennyLane's default.qubit, all rows as one broadcast, compiled beforehand."""
    import jax
    import pennylane as qml

    jax.config.update("jax_enable_x64", True)
    device = qml.device("default.qubit", wires=circuit.qubits)
    node = qml.QNode(_tape(circuit, x, qml), device, diff_method="backprop", interface="jax")

    def loss(w: Any) -> Any:
        return -jax.numpy.mean(jax.numpy.log((1 + _signs(y) * node(w)) / 2))

    slope = jax.jit(jax.grad(loss))
    return lambda w: np.asarray(slope(w))


def _tape(circuit: Circuit, x: Floats, qml: Any) -> Callable[[Any], Any]:
    names = {"h": qml.Hadamard, "p": qml.PhaseShift, "cx": qml.CNOT, "ry": qml.RY}

    def tape(w: Any) -> Any:
        for gate in circuit.gates:
            turn = [] if gate.angle is None else [_value(gate.angle, w, x)]
            names[gate.name](*turn, wires=list(gate.wires))
        return qml.expval(qml.prod(*(qml.PauliZ(wire) for wire in circuit.observables[0])))

    return tape


def _value(angle: Angle, w: Any, x: Floats) -> Any:
    if angle.source == "weight":
        return angle.scale * w[angle.index]
    if angle.source == "feature":
        return angle.scale * x[:, angle.index]
    return angle.scale * (np.pi - x[:, angle.index]) * (np.pi - x[:, angle.other])


def _signs(y: NDArray[np.intp]) -> Floats:
    return np.where(y == 1, -1.0, 1.0)


def _cross_entropy(ones: Floats, y: NDArray[np.intp]) -> float:
    return float(-np.log(np.maximum(np.where(y == 1, ones, 1 - ones), 1e-10)).mean())
