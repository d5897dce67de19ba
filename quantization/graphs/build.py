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
PAST = "past"
HIDDEN = -1e9
"""Added to the score of a token that lies ahead."""


def build(spec: Spec) -> bytes:
    """An ONNX file without weights.

    Inputs, all but the first optional where they change nothing: hidden (batch, length, width);
    scale (1,); the LORA arrays, A as (blocks, in, rank), B as (blocks, rank, out). For block and
    last: past (2, 1, key heads, prefix, head width). For all but block: last (batch,), the number
    of the token that answers, and head (labels, width), the labels' rows of the output matrix. For
    step: target (batch, labels).

    Outputs of block: out (batch, length, width). Of the others: logp (batch, labels). Of block and
    last: present, keys and values as a later call's past. Of step: loss (1,), by_NAME for each
    LORA array.
    """
    net = Net(spec)
    tokens, every, picked = _places(net)
    x = net.op("Reshape", "hidden", net.whole(-1, spec.shape.width))
    kept: list[Kept] = []
    for number in range(spec.blocks):
        ends = spec.ends and number == spec.blocks - 1
        x, left = forward(net, number, x, picked if ends else every, tokens)
        kept.append(left)
    outputs: dict[str, list[Any]] = {}
    if spec.ends:
        outputs |= _answer(net, x, kept)
    else:
        net.op("Reshape", x, net.op("Shape", "hidden"))
        net.name_last("out")
        outputs["out"] = ["B", "T", spec.shape.width]
    if spec.follows:
        pair = [net.op("Unsqueeze", y, net.whole(0)) for y in (kept[0].key, kept[0].value)]
        net.op("Concat", *pair, axis=0)
        net.name_last("present")
        outputs["present"] = _past_dims(spec, "B", "T")
    inputs = _inputs(spec)
    _make_optional(net)
    return net.model(inputs, outputs)


def _answer(net: Net, x: str, kept: list[Kept]) -> dict[str, list[Any]]:
    """Label log-probabilities, and for a step the way back from them."""
    normal, inverse = norm(net, x, "norm:f32")
    logits = net.op("Gemm", normal, "head", transB=1)
    net.op("LogSoftmax", logits, axis=-1)
    net.name_last("logp")
    outputs: dict[str, list[Any]] = {"logp": ["B", "L"]}
    if net.spec.kind == "step":
        gradient = norm_back(net, _loss(net, logits), x, inverse, "norm:f32")
        outputs |= {"loss": [1], **_backwards(net, kept, gradient)}
    return outputs


def _make_optional(net: Net) -> None:
    """Without LoRA inputs the base model answers; onnxruntime's adapter files ask for this too."""
    for name, dims in zip(LORA, _lora_dims(net.spec), strict=True):
        net.default(name, np.zeros([0 if d == "R" else d for d in dims], np.float32))
    net.default("scale", np.ones(1, np.float32))
    if net.spec.follows:
        net.default(PAST, np.zeros(_past_dims(net.spec, 1, 0), np.float32))


def _places(net: Net) -> tuple[Tokens, Rows, Rows]:
    """Rotary tables, masks and row numbers, made from the batch's dimensions."""
    dims = net.op("Slice", net.op("Shape", "hidden"), net.whole(0), net.whole(2))
    batch, length = net.ops("Split", dims, outputs=2, axis=0, num_outputs=2)
    prefix = net.whole(0)
    if net.spec.follows:
        prefix = net.op("Slice", net.op("Shape", PAST), net.whole(3), net.whole(4))
    end = net.op("Squeeze", net.op("Add", prefix, length))
    columns = net.op("Range", net.index(0), end, net.index(1))
    span = net.op("Range", net.op("Squeeze", prefix), end, net.index(1))
    down = net.op("Unsqueeze", span, net.whole(1))
    angles = net.op("Mul", net.op("Cast", down, to=FLOAT), "rope:f32")
    cos, sin = net.op("Cos", angles), net.op("Sin", angles)
    share = net.real(net.spec.shape.head_width**-0.5)
    q_cos, q_sin = net.op("Mul", cos, share), net.op("Mul", sin, share)
    ahead = net.op("Greater", net.op("Unsqueeze", columns, net.whole(0)), down)
    mask = net.op("Where", ahead, net.real(HIDDEN), net.real(0.0))
    tiled = net.op("Tile", mask, net.whole(grouped(net)[1], 1))
    past = PAST if net.spec.follows else ""
    tokens = Tokens(dims, cos, sin, past, prefix)
    every = Rows("", dims, q_cos, q_sin, tiled)
    if not net.spec.ends:
        return tokens, every, every
    starts = net.op("Range", net.index(0), net.op("Squeeze", batch), net.index(1))
    starts = net.op("Mul", starts, length)
    numbers = net.op("Unsqueeze", net.op("Add", starts, "last"), net.whole(1))
    last = net.op("Add", net.op("Unsqueeze", "last", net.whole(1)), prefix)
    single = net.whole(1, 2, 3)
    later = net.op("Unsqueeze", net.op("Greater", columns, last), net.whole(1, 2))
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


def _past_dims(spec: Spec, batch: Any, length: Any) -> list[Any]:
    return [2, batch, spec.shape.kv_heads, length, spec.shape.head_width]


def _lora_dims(spec: Spec) -> list[list[Any]]:
    width, kv_width, blocks = spec.shape.width, spec.shape.kv_width, spec.blocks
    return [
        [blocks, width, "R"],
        [blocks, "R", width],
        [blocks, width, "R"],
        [blocks, "R", kv_width],
    ]


def _inputs(spec: Spec) -> list[tuple[str, int, list[Any]]]:
    lora = zip(LORA, _lora_dims(spec), strict=True)
    given: list[tuple[str, int, list[Any]]] = [
        ("hidden", FLOAT, ["B", "T", spec.shape.width]),
        ("scale", FLOAT, [1]),
        *((name, FLOAT, dims) for name, dims in lora),
    ]
    if spec.follows:
        given.append((PAST, FLOAT, _past_dims(spec, 1, "P")))
    if spec.ends:
        given += [("last", INT64, ["B"]), ("head", FLOAT, ["L", spec.shape.width])]
    if spec.kind == "step":
        given.append(("target", FLOAT, ["B", "L"]))
    return given
