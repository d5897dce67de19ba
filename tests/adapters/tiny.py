"""A base model of three tiny blocks with random weights, as a GGUF file, and its graphs."""

from pathlib import Path

import numpy as np

WIDTH, INNER, HEADS, KV_HEADS, BLOCKS, ADAPTED = 128, 64, 4, 2, 3, 2
MERGES = ("Ġ y", "e s", "Ġy es", "n o", "Ġ no")


def write_tiny(path: Path, blocks: int = BLOCKS, more: tuple[str, ...] = ()) -> Path:
    """Byte-level tokens, and " yes", " no" and any `more` as one token each.

    The same bytes each time.
    """
    import gguf
    from tokenizers import pre_tokenizers

    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġy", "es", "Ġyes", "no", "Ġno"]
    merges = list(MERGES)
    for word in more:
        for end in range(2, len(word) + 1):
            if "Ġ" + word[1:end] not in words:
                words.append("Ġ" + word[1:end])
                merges.append(("Ġ" + word[1 : end - 1]) + " " + word[end - 1])
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(blocks)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([1] * len(words))
    writer.add_token_merges(merges)
    rng = np.random.default_rng(7)
    whole, four = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q4_1
    table = 0.1 * rng.normal(size=(len(words), WIDTH))  # answers are not sure of themselves
    writer.add_tensor("token_embd.weight", table.astype("f4"))
    for block in range(blocks):
        for name, (rows, columns) in _matrices().items():
            dense = (rng.normal(size=(rows, columns)) / columns**0.5).astype("f4")
            packed = gguf.quants.quantize(dense, four)
            writer.add_tensor(f"blk.{block}.{name}.weight", packed, raw_dtype=four)
        for name in ("attn_norm", "ffn_norm"):
            ones = np.ones(WIDTH, np.float32)
            writer.add_tensor(f"blk.{block}.{name}.weight", ones, raw_dtype=whole)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_graphs(folder: Path) -> Path:
    """What training and answering with the last two blocks need."""
    from quantization.gguf.llama import Shape
    from quantization.graphs import ship

    ship.write_graphs(Shape(WIDTH, INNER, HEADS, KV_HEADS), (ADAPTED,), folder)
    return folder


def _matrices() -> dict[str, tuple[int, int]]:
    kv = WIDTH // HEADS * KV_HEADS
    return {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (kv, WIDTH),
        "attn_v": (kv, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (INNER, WIDTH),
        "ffn_up": (INNER, WIDTH),
        "ffn_down": (WIDTH, INNER),
    }
