"""Builds the graphs: `build(Spec("step", 6, shape))` gives the bytes of an ONNX file.

The same spec gives the same bytes with the same version of `onnx`; a test rebuilds those shipped.
"""

from typing import Any

import numpy as np

from quantization.adapters.lora import LORA
from quantization.graphs.block import Kept, Rows, Tokens, backward, forward
from quantization.graphs.layers import grouped, norm, norm_back
from quantization.graphs.net import Net
from quantization.graphs.spec import FLOAT, Spec

INT64 = 7
HIDDEN = -1e9
"""Added to the score of a token that lies ahead."""


def build(spec: Spec) -> bytes:
    """An ONNX file without weights.

    Inputs: hidden (batch, length, width); for all but the trunk last (batch,), the number of the
    token that answers; head (labels, width), the labels' rows of the output matrix; scale (1,);
    the LORA arrays, A as (blocks, in, rank), B as (blocks, rank, out); for steps also
    target (batch, labels). Outputs: out (batch, length, width), or
    logp (batch, labels), and for steps loss (1,) and by_NAME for each LORA array.
    """
    net = Net(spec)
    tokens, every, picked = _places(net)
    x = net.op("Reshape", "hidden", net.whole(-1, spec.shape.width))
    if not spec.ends:
        for number in range(spec.blocks):
            x, _ = forward(net, number, x, every, tokens)
        net.op("Reshape", x, net.op("Shape", "hidden"))
        net.name_last("out")
        return net.model([_hidden(spec)], {"out": ["B", "T", spec.shape.width]})
    kept: list[Kept] = []
    for number in range(spec.blocks):
        rows = picked if number == spec.blocks - 1 else every
        x, left = forward(net, number, x, rows, tokens)
        assert left is not None
        kept.append(left)
    normal, inverse = norm(net, x, "norm:f32")
    logits = net.op("Gemm", normal, "head", transB=1)
    net.op("LogSoftmax", logits, axis=-1)
    net.name_last("logp")
    outputs: dict[str, list[Any]] = {"logp": ["B", "L"]}
    if spec.kind == "step":
        gradient = norm_back(net, _loss(net, logits), x, inverse, "norm:f32")
        outputs |= {"loss": [1], **_backwards(net, kept, gradient)}
    _make_optional(net)
    return net.model(_inputs(spec), outputs)


def _make_optional(net: Net) -> None:
    """Without LoRA inputs the base model answers; onnxruntime's adapter files ask for this too."""
    for name, dims in zip(LORA, _lora_dims(net.spec), strict=True):
        net.default(name, np.zeros([0 if d == "R" else d for d in dims], np.float32))
    net.default("scale", np.ones(1, np.float32))


def _places(net: Net) -> tuple[Tokens, Rows, Rows]:
    """Rotary tables, masks and row numbers, made from the batch's dimensions."""
    dims = net.op("Slice", net.op("Shape", "hidden"), net.whole(0), net.whole(2))
    batch, length = net.ops("Split", dims, outputs=2, axis=0, num_outputs=2)
    span = net.op("Range", net.index(0), net.op("Squeeze", length), net.index(1))
    down = net.op("Unsqueeze", span, net.whole(1))
    angles = net.op("Mul", net.op("Cast", down, to=FLOAT), "rope:f32")
    cos, sin = net.op("Cos", angles), net.op("Sin", angles)
    share = net.real(net.spec.shape.head_width**-0.5)
    q_cos, q_sin = net.op("Mul", cos, share), net.op("Mul", sin, share)
    ahead = net.op("Greater", net.op("Unsqueeze", span, net.whole(0)), down)
    mask = net.op("Where", ahead, net.real(HIDDEN), net.real(0.0))
    tiled = net.op("Tile", mask, net.whole(grouped(net)[1], 1))
    tokens = Tokens(dims, cos, sin)
    every = Rows("", dims, q_cos, q_sin, tiled)
    if not net.spec.ends:
        return tokens, every, every
    starts = net.op("Range", net.index(0), net.op("Squeeze", batch), net.index(1))
    starts = net.op("Mul", starts, length)
    numbers = net.op("Unsqueeze", net.op("Add", starts, "last"), net.whole(1))
    last = net.op("Unsqueeze", "last", net.whole(1))
    single = net.whole(1, 2, 3)
    later = net.op("Unsqueeze", net.op("Greater", span, last), net.whole(1, 2))
    picked = Rows(
        numbers,
        net.op("Concat", batch, net.whole(1), axis=0),
        net.op("Unsqueeze", net.op("Gather", q_cos, "last", axis=0), single),
        net.op("Unsqueeze", net.op("Gather", q_sin, "last", axis=0), single),
        net.op("Where", later, net.real(HIDDEN), net.real(0.0)),
    )
    return tokens, every, picked


def _loss(net: Net, logits: str) -> str:
    """Mean cross-entropy with the targets; returns its gradient by the normalised output."""
    batch = net.op("Slice", net.op("Shape", "hidden"), net.whole(0), net.whole(1))
    share = net.op("Reciprocal", net.op("Cast", batch, to=FLOAT))
    each = net.op("ReduceSum", net.op("Mul", "target", "logp"), net.whole(0, 1), keepdims=0)
    net.op("Mul", net.op("Neg", each), share)
    net.name_last("loss")
    weight = net.op("ReduceSum", "target", net.whole(-1), keepdims=1)
    expected = net.op("Mul", net.op("Softmax", logits, axis=-1), weight)
    return net.op("Gemm", net.op("Mul", net.op("Sub", expected, "target"), share), "head")


def _backwards(net: Net, kept: list[Kept], gradient: str) -> dict[str, list[Any]]:
    found: list[list[str]] = []
    for left in reversed(kept):
        gradients = backward(net, left, gradient, first=left.number == 0)
        found.append([net.op("Unsqueeze", g, net.whole(0)) for g in gradients.lora])
        gradient = gradients.x or ""
    dims = dict(zip(LORA, _lora_dims(net.spec), strict=True))
    for k, name in enumerate(LORA):
        net.op("Concat", *(group[k] for group in reversed(found)), axis=0)
        net.name_last(f"by_{name}")
    return {f"by_{name}": dims[name] for name in LORA}


def _lora_dims(spec: Spec) -> list[list[Any]]:
    width, kv_width, blocks = spec.shape.width, spec.shape.kv_width, spec.blocks
    return [
        [blocks, width, "R"],
        [blocks, "R", width],
        [blocks, width, "R"],
        [blocks, "R", kv_width],
    ]


def _hidden(spec: Spec) -> tuple[str, int, list[Any]]:
    return "hidden", FLOAT, ["B", "T", spec.shape.width]


def _inputs(spec: Spec) -> list[tuple[str, int, list[Any]]]:
    given: list[tuple[str, int, list[Any]]] = [
        _hidden(spec),
        ("last", INT64, ["B"]),
        ("head", FLOAT, ["L", spec.shape.width]),
        ("scale", FLOAT, [1]),
        *((name, FLOAT, dims) for name, dims in zip(LORA, _lora_dims(spec), strict=True)),
    ]
    if spec.kind == "step":
        given.append(("target", FLOAT, ["B", "L"]))
    return given
