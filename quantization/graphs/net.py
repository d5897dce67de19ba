"""Writes ONNX nodes one by one. Needs the `onnx` package (extra [build]); the box never does."""

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from quantization.graphs.spec import FLOAT, Spec, Weight, weights_of

OPSET = 21
MICROSOFT = "com.microsoft"
_IR = 10


class Net:
    """A graph that grows. Values are known by their names in it."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.used: set[str] = set()

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node with one output; its name."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """One node with several outputs."""
        number = len(self.nodes)
        names = [f"v{number}" if k == 0 else f"v{number}_{k}" for k in range(outputs)]
        domain = MICROSOFT if kind == "FusedMatMul" else ""
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        self.used.update(inputs)
        return names

    def whole(self, *numbers: int) -> str:
        """A constant vector of whole numbers."""
        name = "i" + "_".join(map(str, numbers))
        return self._constant(name, np.array(numbers, np.int64))

    def index(self, number: int) -> str:
        """A constant whole number without dimensions."""
        return self._constant(f"i{number}s", np.array(number, np.int64))

    def real(self, number: float) -> str:
        """A constant number (1,)."""
        return self._constant(f"f{number:g}", np.array([number], np.float32))

    def ones(self, columns: int) -> str:
        """A constant row of ones (1, columns)."""
        return self._constant(f"ones{columns}", np.ones((1, columns), np.float32))

    def _constant(self, name: str, array: Any) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def default(self, name: str, array: Any) -> None:
        """What an input is where it is not fed."""
        self.constants[name] = numpy_helper.from_array(array, name)

    def name_last(self, name: str) -> None:
        """Give the newest node's output the name of an output of the graph."""
        self.nodes[-1].output[0] = name

    def model(
        self, inputs: list[tuple[str, int, list[Any]]], outputs: dict[str, list[Any]]
    ) -> bytes:
        """The graph as a file; weights that nothing reads are left out of it."""
        weights = [_placeholder(w) for w in weights_of(self.spec) if w.name in self.used]
        graph = helper.make_graph(
            self.nodes,
            self.spec.kind,
            [helper.make_tensor_value_info(*given) for given in inputs],
            [helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in outputs.items()],
            [*self.constants.values(), *weights],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        made: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
        data: bytes = made.SerializeToString(deterministic=True)
        return data


def _placeholder(weight: Weight) -> TensorProto:
    """A weight without numbers: onnxruntime asks for an 'external file' of that name."""
    made = TensorProto(
        name=weight.name,
        data_type=weight.element,
        dims=weight.shape,
        data_location=TensorProto.EXTERNAL,
    )
    made.external_data.add(key="location", value=weight.name)
    return made
