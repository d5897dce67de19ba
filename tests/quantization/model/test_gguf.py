"""GGUF files, good and hostile, against the gguf library."""

import struct
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest

from quantization.gguf import blocks
from quantization.gguf.header import BadModel, Header, read_header
from quantization.gguf.llama import Weights, facts_of, stored_rows
from quantization.gguf.tokens import MAX_CHARACTERS, tokens_of

gguf = pytest.importorskip("gguf")
KINDS = [blocks.F32, blocks.F16, blocks.BF16, blocks.Q4_0, blocks.Q4_1, blocks.Q8_0]


def read(data: bytes, **options: bool) -> Header:
    return read_header(BytesIO(data), len(data), **options)


@pytest.fixture
def data(tiny_file) -> bytes:
    return tiny_file.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_become_the_numbers_the_library_makes_of_them(kind):
    dense = np.random.default_rng(1).normal(size=(6, 64)).astype("f4")
    packed = gguf.quants.quantize(dense, gguf.GGMLQuantizationType(kind))
    expected = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType(kind))
    found = blocks.dequantise(np.frombuffer(packed.tobytes(), np.uint8), kind, 6)
    np.testing.assert_array_equal(found, expected)


def test_every_tensor_is_where_the_library_finds_it(tiny_file, data):
    reader = gguf.GGUFReader(tiny_file)
    header = read(data)
    weights = Weights(BytesIO(data), header, facts_of(header))
    assert set(header.tensors) == {tensor.name for tensor in reader.tensors}
    for tensor in reader.tensors:
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if expected.ndim == 1:
            found = weights.vector(tensor.name)
        else:
            found = weights.matrix(tensor.name)
            if ".attn_q." in tensor.name or ".attn_k." in tensor.name:
                heads = 4 if ".attn_q." in tensor.name else 2
                found = found[stored_rows(len(found), heads)]
        np.testing.assert_array_equal(found, expected)


def test_rows_of_the_embedding_come_one_by_one(data):
    header = read(data)
    weights = Weights(BytesIO(data), header, facts_of(header))
    ids = np.array([7, 2, 7])
    whole = weights.matrix("token_embd.weight")
    np.testing.assert_array_equal(weights.rows("token_embd.weight", ids), whole[ids])
    with pytest.raises(BadModel, match="does not exist"):
        weights.head(np.array([len(whole)]))


def test_a_file_cut_off_anywhere_is_told_as_such(data):
    for length in [*range(0, 200, 7), *range(200, len(data), 997), len(data) - 1]:
        with pytest.raises(BadModel, match=r"cut off|begin with GGUF"):
            read(data[:length])


def test_a_changed_byte_is_refused_or_read_but_never_breaks_the_reader(data):
    rng = np.random.default_rng(3)
    for _ in range(150):
        broken = bytearray(data)
        for at in rng.integers(0, 2000, 3):
            broken[at] = int(rng.integers(256))
        try:
            header = read(bytes(broken), lists=True)
            facts_of(header)
            tokens_of(header)
        except BadModel:
            continue


@pytest.mark.parametrize(("at", "what"), [(8, "tensors"), (16, "metadata keys")])
def test_a_count_beyond_the_cap_is_refused_before_it_costs_memory(data, at, what):
    broken = data[:at] + struct.pack("<Q", 2**62) + data[at + 8 :]
    with pytest.raises(BadModel, match=what):
        read(broken)


def test_other_files_are_refused_by_what_they_lack(data):
    header = read(data)
    with pytest.raises(BadModel, match="begin with GGUF"):
        read(b"PK\3\4" + data)
    with pytest.raises(BadModel, match="version 9"):
        read(data[:4] + struct.pack("<I", 9) + data[8:])
    others = {
        "architecture": {"general.architecture": "qwen2"},
        "scales its rotary": {"llama.rope.scaling.type": "yarn"},
        "head_count": {"llama.attention.head_count": 0},
        "do not divide": {"llama.attention.head_count": 3},
        "block_count": {"llama.block_count": "many"},
        "shape": {"llama.feed_forward_length": 96},
        "freq_base": {"llama.rope.freq_base": float("nan")},
        "rotary width": {"llama.rope.dimension_count": 16},
    }
    for said, change in others.items():
        with pytest.raises(BadModel, match=said):
            facts_of(replace(header, metadata=header.metadata | change))
    fewer = {name: t for name, t in header.tensors.items() if name != "blk.1.ffn_up.weight"}
    with pytest.raises(BadModel, match=r"blk\.1\.ffn_up\.weight' is missing"):
        facts_of(replace(header, tensors=fewer))


def test_a_matrix_of_another_type_says_which_file_to_take(data):
    header = read(data)
    weights = Weights(BytesIO(data), header, facts_of(header))
    with pytest.raises(BadModel, match="Q4_1 or Q4_0"):
        weights.four_bit("token_embd.weight")


def test_text_becomes_the_tokens_of_the_file(data):
    tokens = tokens_of(read(data, lists=True))
    assert tokens.decode(tokens.encode("no yes nö 12")) == "no yes nö 12"
    assert tokens.decode([tokens.single(" yes")]) == " yes"
    with pytest.raises(BadModel, match="is 3 tokens"):
        tokens.single("abc")
    with pytest.raises(BadModel, match="at most"):
        tokens.encode("x" * (MAX_CHARACTERS + 1))


def test_a_tokenizer_of_another_kind_is_refused(data):
    header = read(data, lists=True)
    words = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(words, list)
    others = {
        "its tokenizer is 'llama'": {"tokenizer.ggml.model": "llama"},
        "cut as 'qwen2'": {"tokenizer.ggml.pre": "qwen2"},
        "no merges": {"tokenizer.ggml.merges": []},
        "join two pieces": {"tokenizer.ggml.merges": ["abc"]},
        "damaged": {"tokenizer.ggml.merges": ["never there"]},
        "of what type": {"tokenizer.ggml.token_type": [1]},
        "first token": {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": -1},
    }
    for said, change in others.items():
        with pytest.raises(BadModel, match=said):
            tokens_of(replace(header, metadata=header.metadata | change))


def test_special_tokens_and_digits_are_cut_as_llama_cpp_cuts_them(smollm2):
    llama_cpp = pytest.importorskip("llama_cpp")
    theirs = llama_cpp.Llama(str(smollm2.path), vocab_only=True, verbose=False)
    for text in ("<|im_start|>user\nup 2026%, 38.5°C<|im_end|>\n", "naïve  déjà-vu\t\n\n x", "123"):
        expected = theirs.tokenize(text.encode(), add_bos=False, special=True)
        assert smollm2.tokens.encode(text) == expected
