"""Adapters in the formats of llama.cpp, PEFT and onnxruntime: there, back, and refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from quantization.adapters import as_peft
from quantization.adapters.files import MAX_BYTES, read_adapter, write_adapter
from quantization.adapters.lora import LORA, Q_B, V_A, Adapter, BadAdapter, fresh
from quantization.runtime.model import open_model

for library in ("gguf", "onnxruntime", "safetensors"):
    pytest.importorskip(library)

NAMES = ("adapter.gguf", "adapter.onnx_adapter", "peft")


def drawn(model, blocks: int = 2, rank: int = 3, seed: int = 0) -> Adapter:
    rng = np.random.default_rng(seed)
    arrays = fresh(model.facts.shape, blocks, rank, rng)
    for name in LORA:
        arrays[name] = (0.1 * rng.normal(size=arrays[name].shape)).astype("f4")
    return Adapter(arrays, model.facts.blocks - blocks, 6.0, model.sha256)


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_comes_back_from_every_format(tiny, tmp_path, name):
    adapter = drawn(tiny)
    write_adapter(adapter, tiny.facts, tmp_path / name)
    found = read_adapter(tmp_path / name, tiny.facts, tiny.sha256)
    assert (found.first, found.rank, found.sha256) == (1, 3, tiny.sha256)
    assert found.alpha == pytest.approx(6.0, rel=1e-6)
    for array in LORA:
        kept = adapter.arrays[array]
        expected = kept.astype("f2").astype("f4") if name.endswith(".gguf") else kept
        np.testing.assert_array_equal(found.arrays[array], expected)


def test_the_same_adapter_gives_the_same_bytes(tiny, tmp_path):
    for name in ("a.gguf", "b.gguf"):
        write_adapter(drawn(tiny), tiny.facts, tmp_path / name)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_for_another_base_model_is_refused(tiny, tmp_path, name):
    write_adapter(drawn(tiny), tiny.facts, tmp_path / name)
    with pytest.raises(BadAdapter, match=r"another base|was made for the base model"):
        read_adapter(tmp_path / name, tiny.facts, "ab" * 32)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_refused(tiny, tmp_path, name):
    write_adapter(drawn(tiny), tiny.facts, tmp_path / name)
    path = tmp_path / name / as_peft.NUMBERS if name == "peft" else tmp_path / name
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], b"", b"\0" * 100):
        path.write_bytes(broken)
        with pytest.raises(BadAdapter, match=rf"^{tmp_path / name}: "):
            read_adapter(tmp_path / name, tiny.facts, tiny.sha256)


def test_a_damaged_adapter_is_not_blamed_on_its_base_model(tiny_file, tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(BadAdapter) as told, open_model(str(tiny_file)) as model:
        read_adapter(tmp_path / "a.gguf", model.facts, model.sha256)
    assert tiny_file.name not in str(told.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_without_an_end_is_not_read_to_it(tiny, tmp_path, name):
    write_adapter(drawn(tiny), tiny.facts, tmp_path / name)
    path = tmp_path / name / as_peft.NUMBERS if name == "peft" else tmp_path / name
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(BadAdapter, match="longer than"):
        read_adapter(tmp_path / name, tiny.facts, tiny.sha256)


def test_what_does_not_fit_is_never_written(tiny, tmp_path):
    adapter = drawn(tiny)
    nan = adapter.arrays[V_A].copy()
    nan[0, 0, 0] = np.nan
    others = {
        "fits this base model": {Q_B: adapter.arrays[Q_B][:, :2]},
        "NaN": {V_A: nan},
        "are used": {"lora_k_a": adapter.arrays[V_A]},
    }
    for said, change in others.items():
        with pytest.raises(BadAdapter, match=said):
            write_adapter(
                replace(adapter, arrays={**adapter.arrays, **change}),
                tiny.facts,
                tmp_path / "a.gguf",
            )
    with pytest.raises(BadAdapter, match="the model has 3"):
        write_adapter(replace(adapter, first=2), tiny.facts, tmp_path / "a.gguf")
    with pytest.raises(BadAdapter, match="alpha"):
        write_adapter(replace(adapter, alpha=float("nan")), tiny.facts, tmp_path / "a.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_peft_folder_of_other_matrices_or_another_rank_is_refused(tiny):
    files = as_peft.to_peft(drawn(tiny), tiny.facts)
    config = json.loads(files[as_peft.CONFIG])

    def read(numbers: bytes = files[as_peft.NUMBERS], **change: object) -> Adapter:
        said = json.dumps(config | change).encode()
        return as_peft.from_peft({as_peft.CONFIG: said, as_peft.NUMBERS: numbers}, tiny.facts)

    with pytest.raises(BadAdapter, match="says rank 4"):
        read(r=4)
    with pytest.raises(BadAdapter, match="no LoRA adapter"):
        read(peft_type="IA3")
    assert read(use_rslora=True).alpha == pytest.approx(6.0 * 3**0.5)
    other = files[as_peft.NUMBERS].replace(b"q_proj.lora_A", b"k_proj.lora_A")
    with pytest.raises(BadAdapter, match="q_proj and v_proj alone"):
        read(other)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_loads_the_folder_and_says_the_same(tiny, tmp_path):
    peft = pytest.importorskip("peft")
    torch = pytest.importorskip("torch")
    from benchmarks.adapter_peer import llama
    from quantization.runtime.scoring import label_log_probabilities, open_scorer

    adapter = drawn(tiny)
    write_adapter(adapter, tiny.facts, tmp_path / "peft")
    net = peft.PeftModel.from_pretrained(
        llama(tiny, 0, tiny.facts.blocks, table=True), str(tmp_path / "peft")
    )
    labels = [tiny.tokens.single(" yes"), tiny.tokens.single(" no"), 5]
    texts = ("is it? ", "never mind", "x")
    with open_scorer(tiny, labels, "onnx") as scorer:
        before = label_log_probabilities(scorer, tiny, "Say: ", texts)
        scorer.adapt(adapter)
        ours = label_log_probabilities(scorer, tiny, "Say: ", texts)
    for text, row, plain in zip(texts, ours, before, strict=True):
        ids = torch.tensor([tiny.tokens.encode("Say: ") + tiny.tokens.encode(text)])
        with torch.no_grad():
            logits = net(input_ids=ids).logits[0, -1, labels]
        np.testing.assert_allclose(row, torch.log_softmax(logits, -1).numpy(), atol=2e-5)
        assert np.abs(row - plain).max() > 1e-3
