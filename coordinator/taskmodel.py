"""The `[model]` table of a task file for circuits, and the classifier it names."""

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from proto import ansatz
from proto.circuit import MAX_QUBITS, Circuit, Classifier, Gate
from proto.errors import ConfigError
from proto.messages import BACKEND_PATTERN
from proto.qcnn import SIZES, qcnn_circuit

DEFAULT_REPS = 3


class Model(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="circuit"
):
    ansatz: Literal[
        "real-amplitudes",
        "re-uploading",
        "paper",
        "efficient-su2",
        "strongly-entangling",
        "hardware-efficient",
        "qcnn",
        "own",
    ] = "real-amplitudes"
    gates: str | tuple[Gate, ...] = ()
    """Of ansatz own: the file of its gates beside the task file, in whose place they are put."""
    encoding: Literal["rx", "ry", "rz", "z", "zz"] | None = None
    """How features enter; left out, the ansatz's own way."""
    reps: Annotated[int, Meta(ge=1, le=16)] = DEFAULT_REPS
    backend: Annotated[str, Meta(max_length=64, pattern=BACKEND_PATTERN)] = "numpy"
    shots: Annotated[int, Meta(ge=0, le=2**20)] = 0
    noise: str = ""
    shot_budget: Annotated[int, Meta(ge=0, le=2**40)] = 0
    simulated_rounds: Annotated[int, Meta(ge=0, le=100_000)] = 0


Layers = Callable[[int, int], tuple[Gate, ...]]

ENCODINGS: dict[str, Callable[[int], tuple[Gate, ...]]] = {
    "rx": lambda qubits: ansatz.angle_encoding(qubits, "rx"),
    "ry": ansatz.ry_encoding,
    "rz": lambda qubits: ansatz.angle_encoding(qubits, "rz"),
    "z": ansatz.z_feature_map,
    "zz": ansatz.zz_feature_map,
}

LAYERS: dict[str, Layers] = {
    "real-amplitudes": ansatz.real_amplitudes,
    "efficient-su2": ansatz.efficient_su2,
    "strongly-entangling": ansatz.strongly_entangling,
    "hardware-efficient": ansatz.hardware_efficient,
}
"""Those that stand behind any encoding, and are read by <Z> of each qubit and a linear head."""


def classifier_of(model: Model, features: int, classes: int) -> Classifier:
    """The classifier for so many features, one qubit each. Raises ConfigError."""
    if model.gates and model.ansatz != "own":
        raise ConfigError(f'model.gates is for model.ansatz = "own", not "{model.ansatz}"')
    if features > MAX_QUBITS:
        raise ConfigError(
            f"{features} features need {features} qubits, at most {MAX_QUBITS} are simulated: "
            "set data.components to fit principal components"
        )
    if model.ansatz == "paper":
        return _paper(model, features, classes)
    return Classifier(_circuit(model, features, classes), "arctan", classes, "linear")


def _circuit(model: Model, features: int, classes: int) -> Circuit:
    if model.ansatz == "re-uploading":
        if model.encoding:
            raise ConfigError(
                "re-uploading feeds the features in each layer by RX: leave model.encoding out"
            )
        gates = ansatz.re_uploading(features, model.reps)
    elif model.ansatz == "own":
        gates = _own(model, features)
    elif model.ansatz == "qcnn":
        _check_qcnn(model, features, classes)
        own = model.encoding and ENCODINGS[model.encoding](features)
        return qcnn_circuit(features, classes, own or None)
    else:
        encoding = ENCODINGS[model.encoding or "ry"](features)
        gates = (*encoding, *LAYERS[model.ansatz](features, model.reps))
    return ansatz.without_dead(ansatz.assemble(features, gates, ansatz.each_z(features)))


def _own(model: Model, features: int) -> tuple[Gate, ...]:
    """Gates drawn elsewhere; behind an encoding where they read no feature."""
    gates = model.gates
    if isinstance(gates, str) or not gates:
        raise ConfigError('model.ansatz = "own" needs model.gates, the file of its gates')
    if wide := [wire for gate in gates for wire in gate.wires if wire >= features]:
        raise ConfigError(
            f"model.gates use wire {max(wide)}, which has no feature: set data.components to "
            f"{max(wide) + 1}"
        )
    if read := ansatz.assemble(features, gates, ansatz.each_z(features)).features:
        if model.encoding:
            raise ConfigError("model.gates read the features themselves: leave model.encoding out")
        if read != features:
            raise ConfigError(f"model.gates read {read} features: set data.components to {read}")
        return gates
    return (*ENCODINGS[model.encoding or "ry"](features), *gates)


def _check_qcnn(model: Model, features: int, classes: int) -> None:
    if features not in SIZES:
        raise ConfigError(
            f"qcnn halves its qubits and takes 4 or 8 features, not {features}: "
            "set data.components to 4 or 8"
        )
    if model.reps != DEFAULT_REPS:
        raise ConfigError("the shape of qcnn is fixed by its qubits: leave model.reps out")
    if classes > features:
        raise ConfigError(
            f"qcnn reads a qubit for each class: {features} qubits tell at most {features} classes "
            f"apart, not {classes}"
        )


def _paper(model: Model, features: int, classes: int) -> Classifier:
    if model.encoding not in (None, "zz"):
        raise ConfigError(
            f"ansatz paper means the ZZ feature map, not {model.encoding}: leave model.encoding "
            "out, or take ansatz real-amplitudes"
        )
    if classes != 2:  # noqa: PLR2004
        raise ConfigError(
            f"ansatz paper reads one parity, which tells 2 classes apart, not {classes}: take "
            "another model.ansatz"
        )
    gates = (*ansatz.zz_feature_map(features), *ansatz.real_amplitudes(features, model.reps))
    circuit = ansatz.assemble(features, gates, ansatz.parity(features))
    # The paper scales to 0..1. Standardised features as they are wind the ZZ angles round: test
    # accuracy on breast_cancer 0.61, against 0.85 (five splits, 150 steps of Adam).
    return Classifier(circuit, "unit", classes, "parity")
