"""One Llama block with LoRA on its query and value matrices, forwards and backwards.

Shapes: N = batch * length tokens, M = the rows that are computed: all N, or in the last block the
one row a sample that the loss reads (its keys and values still need all N).
"""

from dataclasses import dataclass

from quantization.adapters.lora import LORA
from quantization.graphs.layers import (
    back,
    gated,
    gated_back,
    grouped,
    join_heads,
    matmul,
    norm,
    norm_back,
    softmax_back,
    split_heads,
    tall,
    through,
    turn,
    wide,
)
from quantization.graphs.net import Net


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows a block computes, and what their attention needs."""

    numbers: str
    """Which of N, (M, 1); empty for all."""
    dims: str
    """(batch, rows a sample)."""
    cos: str
    sin: str
    mask: str
    """Added to the scores, (batch or 1, 1, queries * rows, keys)."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens of a batch: their dimensions, the keys' rotary tables, what came before them."""

    dims: str
    cos: str
    sin: str
    past: str = ""
    """Keys and values of a prefix all share (2, 1, key heads, prefix, head width), if any."""
    prefix: str = ""
    """Its length, as a vector of one."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the backward pass needs of the forward pass, by its name in the net."""

    number: int
    rows: Rows
    tokens: Tokens
    x: str
    inverse: str
    h: str
    h_rows: str
    low_q: str
    low_v: str
    query: str
    key: str
    value: str
    chances: str
    middle: str
    middle_inverse: str
    gate: str
    up: str


@dataclass(frozen=True, slots=True)
class Gradients:
    """By the LoRA arrays, in the order of LORA, and by the block's input (None for the first)."""

    lora: tuple[str, str, str, str]
    x: str | None


def adapted(net: Net, x: str, name: str, pair: tuple[str, str], number: int) -> tuple[str, str]:
    """x W^T + scale * x A B, and scale * x A."""
    a = net.op("Gather", pair[0], net.index(number), axis=0)
    b = net.op("Gather", pair[1], net.index(number), axis=0)
    inner = net.op("Mul", net.op("Gemm", x, a), "scale")
    return net.op("Gemm", inner, b, through(net, x, name)), inner


def forward(net: Net, number: int, x: str, rows: Rows, tokens: Tokens) -> tuple[str, Kept]:
    """The block's output (M, width), and what its backward pass needs."""
    label = f"{number}."
    h, inverse = norm(net, x, f"{label}attn_norm:f32")
    picked = bool(rows.numbers)
    h_rows = net.op("GatherND", h, rows.numbers) if picked else h
    x_rows = net.op("GatherND", x, rows.numbers) if picked else x
    q, low_q = adapted(net, h_rows, label + "attn_q", LORA[:2], number)
    v, low_v = adapted(net, h, label + "attn_v", LORA[2:], number)
    k = through(net, h, label + "attn_k")
    kv_heads, _ = heads = grouped(net)
    query = tall(net, turn(net, split_heads(net, q, rows.dims, heads), rows.cos, rows.sin))
    key = turn(net, split_heads(net, k, tokens.dims, (kv_heads,)), tokens.cos, tokens.sin)
    value = split_heads(net, v, tokens.dims, (kv_heads,))
    mixed, chances = _attend(net, (query, key, value), rows, tokens)
    joined = join_heads(net, wide(net, mixed), heads, net.spec.shape.width)
    middle = through(net, joined, label + "attn_output", plus=x_rows)
    inner, middle_inverse = norm(net, middle, f"{label}ffn_norm:f32")
    gate, up = through(net, inner, label + "ffn_gate"), through(net, inner, label + "ffn_up")
    y = through(net, gated(net, gate, up), label + "ffn_down", plus=middle)
    return y, Kept(
        number,
        rows,
        tokens,
        x,
        inverse,
        h,
        h_rows,
        low_q,
        low_v,
        query,
        key,
        value,
        chances,
        middle,
        middle_inverse,
        gate,
        up,
    )


def _attend(net: Net, found: tuple[str, str, str], rows: Rows, tokens: Tokens) -> tuple[str, str]:
    """Values mixed by attention to the tokens and to the prefix, and the attention's weights."""
    query, key, value = found
    scores = matmul(net, query, key, b_turned=True)
    if not tokens.past:
        chances = net.op("Softmax", net.op("Add", scores, rows.mask), axis=-1)
        return matmul(net, chances, value), chances
    old_key = net.op("Gather", tokens.past, net.index(0), axis=0)
    old_value = net.op("Gather", tokens.past, net.index(1), axis=0)
    before = matmul(net, query, old_key, b_turned=True)
    scores = net.op("Add", net.op("Concat", before, scores, axis=-1), rows.mask)
    chances = net.op("Softmax", scores, axis=-1)
    ends = net.whole(0), tokens.prefix, net.whole(2**40)
    old = net.op("Slice", chances, ends[0], ends[1], net.whole(-1))
    new = net.op("Slice", chances, ends[1], ends[2], net.whole(-1))
    mixed = net.op("Add", matmul(net, old, old_value), matmul(net, new, value))
    return mixed, chances


def backward(net: Net, kept: Kept, gradient: str, *, first: bool) -> Gradients:
    """From the gradient by the block's output (M, width). The first block's input needs none."""
    label = f"{kept.number}."
    by_middle = _mlp_back(net, kept, gradient)
    heads = grouped(net)
    by_mixed = back(net, by_middle, label + "attn_output")
    by_mixed = tall(net, split_heads(net, by_mixed, kept.rows.dims, heads))
    by_value = matmul(net, kept.chances, by_mixed, a_turned=True)
    by_chances = matmul(net, by_mixed, kept.value, b_turned=True)
    by_scores = softmax_back(net, by_chances, kept.chances)
    by_query = wide(net, matmul(net, by_scores, kept.key))
    by_query = turn(net, by_query, kept.rows.cos, kept.rows.sin, undo=True)
    by_q = join_heads(net, by_query, heads, net.spec.shape.width)
    by_v = join_heads(net, by_value, heads[:1], net.spec.shape.kv_width)
    q_a, q_b, by_h_rows = _lora_back(net, kept, "q", by_q)
    v_a, v_b, by_h = _lora_back(net, kept, "v", by_v)
    found = (q_a, q_b, v_a, v_b)
    if first:
        return Gradients(found, None)
    by_key = matmul(net, by_scores, kept.query, a_turned=True)
    by_key = turn(net, by_key, kept.tokens.cos, kept.tokens.sin, undo=True)
    by_k = join_heads(net, by_key, heads[:1], net.spec.shape.kv_width)
    by_h = back(net, by_v, label + "attn_v", plus=by_h)
    by_h = back(net, by_k, label + "attn_k", plus=by_h)
    if kept.rows.numbers:
        by_h_rows = back(net, by_q, label + "attn_q", plus=by_h_rows)
        by_h = net.op("ScatterND", by_h, kept.rows.numbers, by_h_rows, reduction="add")
    else:
        by_h = back(net, by_q, label + "attn_q", plus=net.op("Add", by_h, by_h_rows))
    by_x = norm_back(net, by_h, kept.x, kept.inverse, f"{label}attn_norm:f32")
    if kept.rows.numbers:
        return Gradients(
            found, net.op("ScatterND", by_x, kept.rows.numbers, by_middle, reduction="add")
        )
    return Gradients(found, net.op("Add", by_x, by_middle))


def _mlp_back(net: Net, kept: Kept, gradient: str) -> str:
    label = f"{kept.number}."
    by_inner = back(net, gradient, label + "ffn_down")
    by_gate, by_up = gated_back(net, by_inner, kept.gate, kept.up)
    by_norm = back(net, by_gate, label + "ffn_gate")
    by_norm = back(net, by_up, label + "ffn_up", plus=by_norm)
    by_x = norm_back(net, by_norm, kept.middle, kept.middle_inverse, f"{label}ffn_norm:f32")
    return net.op("Add", by_x, gradient)


def _lora_back(net: Net, kept: Kept, which: str, gradient: str) -> tuple[str, str, str]:
    """The gradients by A, by B and by what the pair reads."""
    a_name, b_name = (LORA[:2], LORA[2:])[which == "v"]
    x, inner = (kept.h_rows, kept.low_q) if which == "q" else (kept.h, kept.low_v)
    a = net.op("Gather", a_name, net.index(kept.number), axis=0)
    b = net.op("Gather", b_name, net.index(kept.number), axis=0)
    by_b = net.op("Gemm", inner, gradient, transA=1)
    by_inner = net.op("Mul", net.op("Gemm", gradient, b, transB=1), "scale")
    by_a = net.op("Gemm", x, by_inner, transA=1)
    return by_a, by_b, net.op("Gemm", by_inner, a, transB=1)
