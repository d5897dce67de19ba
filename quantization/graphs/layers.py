"""A Llama block in ONNX nodes, forwards and backwards. Activations are (tokens, width).

The backward pass is written out rather than traced: only what it needs is kept, a frozen weight is
unpacked at each use and gone again, and nothing is computed that no LoRA gradient asks for.
Shapes below: N = batch * length tokens, M = rows asked for (N, or one a sample).
"""

from quantization.gguf.blocks import LENGTH
from quantization.graphs.net import Net

FLOAT32 = 1


def dense(net: Net, name: str, after: str) -> str:
    """A frozen matrix (out, in) in float32, unpacked only once `after` has been computed.

    The wait is what keeps memory low: onnxruntime would otherwise unpack all weights at the start.
    """
    rows, columns = net.spec.shape.matrix(name.rpartition(".")[2])
    first = net.op("Slice", net.op("Reshape", after, net.whole(-1)), net.whole(0), net.whole(1))
    zero = net.op("Mul", first, net.real(0.0))
    steps = net.op("Add", net.op("Cast", f"{name}:d", to=FLOAT32), zero)
    scaled = net.op("DequantizeLinear", f"{name}:q", steps, axis=0)
    # An outer product with ones adds the minima in less time than Add takes to spread them.
    minima = net.op("Cast", f"{name}:m", to=FLOAT32)
    moved = net.op("Gemm", minima, net.ones(LENGTH), scaled)
    return net.op("Reshape", moved, net.whole(rows, columns))


def through(net: Net, x: str, name: str, plus: str = "") -> str:
    """x W^T, plus something: (M, in) to (M, out)."""
    inputs = [x, dense(net, name, x), *([plus] if plus else [])]
    return net.op("Gemm", *inputs, transB=1)


def back(net: Net, gradient: str, name: str, plus: str = "") -> str:
    """The gradient by x of x W^T, plus something: (M, out) to (M, in)."""
    inputs = [gradient, dense(net, name, gradient), *([plus] if plus else [])]
    return net.op("Gemm", *inputs)


def norm(net: Net, x: str, weight: str) -> tuple[str, str]:
    """RMS normalisation (M, width), and the inverse root (M, 1) its backward pass needs."""
    mean = net.op("ReduceMean", net.op("Mul", x, x), net.whole(-1), keepdims=1)
    inverse = net.op("Reciprocal", net.op("Sqrt", net.op("Add", mean, "epsilon:f32")))
    return net.op("Mul", net.op("Mul", x, inverse), weight), inverse


def norm_back(net: Net, gradient: str, x: str, inverse: str, weight: str) -> str:
    """The gradient by x of `norm`."""
    normal = net.op("Mul", x, inverse)
    scaled = net.op("Mul", gradient, weight)
    mean = net.op("ReduceMean", net.op("Mul", scaled, normal), net.whole(-1), keepdims=1)
    return net.op("Mul", net.op("Sub", scaled, net.op("Mul", normal, mean)), inverse)


def turn(net: Net, x: str, cos: str, sin: str, *, undo: bool = False) -> str:
    """The rotary embedding over the last dimension's halves, or its gradient."""
    left, right = net.ops("Split", x, outputs=2, axis=-1, num_outputs=2)
    near, far = ("Add", "Sub") if undo else ("Sub", "Add")
    first = net.op(near, net.op("Mul", left, cos), net.op("Mul", right, sin))
    second = net.op(far, net.op("Mul", right, cos), net.op("Mul", left, sin))
    return net.op("Concat", first, second, axis=-1)


def matmul(net: Net, a: str, b: str, *, a_turned: bool = False, b_turned: bool = False) -> str:
    """Batched matrix product over the last two dimensions, either side transposed."""
    return net.op("FusedMatMul", a, b, transA=int(a_turned), transB=int(b_turned))


def split_heads(net: Net, x: str, dims: str, heads: tuple[int, ...]) -> str:
    """(M, heads * width) to (batch, *heads, rows, head width)."""
    shape = net.op("Concat", dims, net.whole(*heads, net.spec.shape.head_width), axis=0)
    order = [0, *range(2, 2 + len(heads)), 1, 2 + len(heads)]
    return net.op("Transpose", net.op("Reshape", x, shape), perm=order)


def join_heads(net: Net, x: str, heads: tuple[int, ...], width: int) -> str:
    """(batch, *heads, rows, head width) back to (M, heads * width)."""
    order = [0, 1 + len(heads), *range(1, 1 + len(heads)), 2 + len(heads)]
    return net.op("Reshape", net.op("Transpose", x, perm=order), net.whole(-1, width))


def grouped(net: Net) -> tuple[int, int]:
    """Key heads, and query heads to each."""
    shape = net.spec.shape
    return shape.kv_heads, shape.heads // shape.kv_heads


def tall(net: Net, x: str) -> str:
    """(batch, key heads, queries to each, rows, head width): the middle two made one."""
    return net.op(
        "Reshape", x, net.whole(0, net.spec.shape.kv_heads, -1, net.spec.shape.head_width)
    )


def wide(net: Net, x: str) -> str:
    """What `tall` did, undone."""
    kv_heads, queries = grouped(net)
    return net.op("Reshape", x, net.whole(0, kv_heads, queries, -1, net.spec.shape.head_width))


def softmax_back(net: Net, gradient: str, chances: str) -> str:
    """The gradient by the scores of a softmax over the last dimension."""
    inner = net.op("Mul", gradient, chances)
    total = net.op("ReduceSum", inner, net.whole(-1), keepdims=1)
    return net.op("Sub", inner, net.op("Mul", chances, total))


def gated(net: Net, gate: str, up: str) -> str:
    """silu(gate) * up."""
    return net.op("Mul", net.op("Mul", gate, net.op("Sigmoid", gate)), up)


def gated_back(net: Net, gradient: str, gate: str, up: str) -> tuple[str, str]:
    """The gradients by gate and by up of `gated`."""
    sigmoid = net.op("Sigmoid", gate)
    silu = net.op("Mul", gate, sigmoid)
    by_up = net.op("Mul", gradient, silu)
    slope = net.op("Add", sigmoid, net.op("Sub", silu, net.op("Mul", silu, sigmoid)))
    return net.op("Mul", net.op("Mul", gradient, up), slope), by_up
