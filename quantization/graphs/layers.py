"""A Llama block in ONNX nodes, forwards and backwards. Activations are (tokens, width).

The backward pass is written out rather than traced: only what it needs is kept, a frozen weight is
unpacked at each use and gone again, and nothing is computed that no LoRA gradient asks for.
Shapes below: N = batch * length tokens, M = rows asked for (N, or one a sample).
"""

from quantization.gguf.blocks import LENGTH
from quantization.graphs.net import Net
from quantization.graphs.spec import MIDDLE

FLOAT32 = 1


def scaled(net: Net, name: str, after: str) -> str:
    """A frozen matrix (out, in) in float32 without its minima, unpacked only after `after`.

    The wait is what keeps memory low: onnxruntime would otherwise unpack all weights at the start.
    """
    rows, columns = net.spec.shape.matrix(name.rpartition(".")[2])
    first = net.op("Slice", net.op("Reshape", after, net.whole(-1)), net.whole(0), net.whole(1))
    zero = net.op("Mul", first, net.real(0.0))
    steps = net.op("Add", net.op("Cast", f"{name}:d", to=FLOAT32), zero)
    made = net.op("DequantizeLinear", f"{name}:q", steps, axis=0)
    return net.op("Reshape", made, net.whole(rows, columns))


def middles(net: Net, name: str) -> str:
    """What a code of 0 stands for in each of the matrix's blocks: (out, in / 32).

    Codes are held from -8 to 7, so that little cancels. Made when the graph is opened.
    """
    rows, columns = net.spec.shape.matrix(name.rpartition(".")[2])
    steps, least = (net.op("Cast", f"{name}:{part}", to=FLOAT32) for part in "dm")
    middle = net.op("Add", net.op("Mul", steps, net.real(float(MIDDLE))), least)
    return net.op("Reshape", middle, net.whole(rows, columns // LENGTH))


def through(net: Net, x: str, name: str, plus: str = "") -> str:
    """x W^T, plus something: (M, in) to (M, out).

    A block's middle meets the sum of the block's inputs: to add it to the block's 32 numbers first
    would be another pass over the matrix.
    """
    _, columns = net.spec.shape.matrix(name.rpartition(".")[2])
    blocks = net.op("Reshape", x, net.whole(0, columns // LENGTH, LENGTH))
    sums = net.op("ReduceSum", blocks, net.whole(-1), keepdims=0)
    low = net.op("Gemm", sums, middles(net, name), *([plus] if plus else []), transB=1)
    return net.op("Gemm", x, scaled(net, name, x), low, transB=1)


def back(net: Net, gradient: str, name: str, plus: str = "") -> str:
    """The gradient by x of x W^T, plus something: (M, out) to (M, in)."""
    _, columns = net.spec.shape.matrix(name.rpartition(".")[2])
    low = net.op("Reshape", net.op("Gemm", gradient, middles(net, name)), net.whole(-1, 1))
    more = [net.op("Reshape", plus, net.whole(-1, LENGTH))] if plus else []
    # An outer product with ones spreads them in less time than Add takes.
    spread = net.op("Gemm", low, net.ones(LENGTH), *more)
    wide = net.op("Reshape", spread, net.whole(-1, columns))
    return net.op("Gemm", gradient, scaled(net, name, gradient), wide)


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
