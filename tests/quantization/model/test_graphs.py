"""The graphs: rebuilt to the byte, and their gradients against torch and against differences."""

import numpy as np
import pytest

from quantization.adapters.lora import LORA, fresh
from quantization.graphs.ship import FOLDER, SMOLLM2_135M, graphs_for
from quantization.runtime.sessions import (
    Batch,
    Task,
    hidden_states,
    open_forward,
    open_trainer,
    open_trunk,
    padded,
)

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

BLOCKS, RANK, LABELS = 2, 3, 3


@pytest.fixture
def lora(tiny) -> dict:
    rng = np.random.default_rng(0)
    arrays = fresh(tiny.facts.shape, BLOCKS, RANK, rng)
    return {name: (0.2 * rng.normal(size=a.shape)).astype("f4") for name, a in arrays.items()}


@pytest.fixture
def task(tiny) -> Task:
    return Task(tiny.head([3, 9, 100]), 1.5)


@pytest.fixture
def batch(tiny) -> Batch:
    """Rows of several lengths, and targets that are no certainties."""
    rng = np.random.default_rng(1)
    ids, last = padded([list(rng.integers(0, 250, length)) for length in (7, 4, 1, 9)])
    target = rng.random((4, LABELS)).astype("f4")
    return Batch(open_trunk(tiny, BLOCKS).run(ids), last, target)


def test_the_shipped_graphs_are_what_this_code_builds():
    from quantization.graphs.build import build

    for spec in graphs_for(SMOLLM2_135M):
        assert (FOLDER / spec.file).read_bytes() == build(spec), spec.file
    assert len(list(FOLDER.iterdir())) == len(graphs_for(SMOLLM2_135M))


def test_the_shipped_graphs_hold_no_weights():
    for path in FOLDER.iterdir():
        held = onnx.load(str(path), load_external_data=False).graph.initializer
        inside = [t for t in held if t.data_location != onnx.TensorProto.EXTERNAL]
        assert max(np.prod(t.dims) for t in inside) <= 64, path.name
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_000_000


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_gradients_are_those_of_torch(tiny, lora, task, batch):
    pytest.importorskip("peft")
    pytest.importorskip("torch")
    from benchmarks.adapter_peer import Peer

    peer = Peer(tiny, BLOCKS, RANK, 1.5 * RANK)
    peer.load(lora)
    loss, theirs = peer.step(task.head, batch)
    ours = open_trainer(tiny, BLOCKS).step(lora, task, batch)
    assert ours.loss == pytest.approx(loss, rel=1e-5)
    for name in LORA:
        error = np.linalg.norm(ours.gradients[name] - theirs[name]) / np.linalg.norm(theirs[name])
        assert error < 5e-5, (name, error)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_gradients_are_those_of_torch_on_the_real_model(smollm2, blocks):
    pytest.importorskip("peft")
    pytest.importorskip("torch")
    from benchmarks.adapter_peer import Peer

    rng = np.random.default_rng(2)
    ids, last = padded([list(rng.integers(20, 49000, length)) for length in (12, 20)])
    hidden = next(hidden_states(smollm2, blocks, [ids]))
    arrays = fresh(smollm2.facts.shape, blocks, 8, rng)
    arrays = {n: (a + 0.02 * rng.normal(size=a.shape)).astype("f4") for n, a in arrays.items()}
    real = Task(smollm2.head([9805, 787]), 2.0)
    rows = Batch(hidden, last, np.eye(2, dtype="f4"))
    peer = Peer(smollm2, blocks, 8, 16.0)
    peer.load(arrays)
    loss, theirs = peer.step(real.head, rows)
    ours = open_trainer(smollm2, blocks).step(arrays, real, rows)
    assert ours.loss == pytest.approx(loss, rel=1e-4)
    for name in LORA:
        error = np.linalg.norm(ours.gradients[name] - theirs[name]) / np.linalg.norm(theirs[name])
        assert error < 5e-5, (name, error)


def test_gradients_are_the_slope_of_the_loss(tiny, lora, task, batch):
    trainer, rng = open_trainer(tiny, BLOCKS), np.random.default_rng(4)
    step = trainer.step(lora, task, batch)
    for name in LORA:
        way = rng.normal(size=lora[name].shape).astype("f4")
        reach = np.float32(2e-3 / np.linalg.norm(way))
        ends = [
            trainer.step({**lora, name: lora[name] + sign * reach * way}, task, batch).loss
            for sign in (1, -1)
        ]
        slope = float((step.gradients[name] * way).sum() * reach)
        assert (ends[0] - ends[1]) / 2 == pytest.approx(slope, rel=0.05, abs=2e-6), name


def test_both_graphs_of_the_last_blocks_say_the_same(tiny, lora, task, batch):
    step = open_trainer(tiny, BLOCKS).step(lora, task, batch)
    logp = open_forward(tiny, BLOCKS).log_probabilities(lora, task, batch)
    np.testing.assert_allclose(step.logp, logp, atol=2e-6)
    assert step.loss == pytest.approx(-float((batch.target * logp).sum()) / 4, rel=1e-5)


def test_a_row_is_answered_the_same_alone_and_among_longer_ones(tiny, lora, task, batch):
    forward = open_forward(tiny, BLOCKS)
    together = forward.log_probabilities(lora, task, batch)
    for row, end in enumerate(batch.last):
        alone = Batch(batch.hidden[row : row + 1, : end + 1], batch.last[row : row + 1])
        found = forward.log_probabilities(lora, task, alone)
        np.testing.assert_allclose(found[0], together[row], atol=2e-5)


def test_without_lora_arrays_the_base_model_answers(tiny, lora, task, batch):
    forward = open_forward(tiny, BLOCKS)
    feed = {"hidden": batch.hidden, "last": batch.last, "head": task.head}
    nothing = {name: np.zeros_like(array) for name, array in lora.items()}
    expected = forward.log_probabilities(nothing, task, batch)
    np.testing.assert_array_equal(forward.session.run(["logp"], feed)[0], expected)


def test_onnxruntime_takes_the_adapter_file_for_its_inputs(tiny, lora, task, batch, tmp_path):
    import onnxruntime

    from quantization.adapters.files import write_adapter
    from quantization.adapters.lora import Adapter

    path = tmp_path / "a.onnx_adapter"
    write_adapter(Adapter(lora, 1, 1.5 * RANK, tiny.sha256), tiny.facts, path)
    held, options = onnxruntime.LoraAdapter(), onnxruntime.RunOptions()
    held.Load(str(path))
    options.add_active_adapter(held)
    forward = open_forward(tiny, BLOCKS)
    feed = {"hidden": batch.hidden, "last": batch.last, "head": task.head}
    found = forward.session.run(["logp"], feed, options)[0]
    np.testing.assert_array_equal(found, forward.log_probabilities(lora, task, batch))


def test_states_are_the_same_with_one_block_open_and_with_all(tiny):
    rng = np.random.default_rng(5)
    batches = [rng.integers(0, 250, (2, length)) for length in (3, 8, 5)]
    trunk = open_trunk(tiny, 1)
    for ids, found in zip(batches, hidden_states(tiny, 1, batches, together=2), strict=True):
        np.testing.assert_array_equal(found, trunk.run(ids))
