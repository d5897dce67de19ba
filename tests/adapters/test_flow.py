"""Adapters through a whole fleet in memory: rounds, pieces, chunks, ranks, residuals, answers."""

import json
import sys

import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.export import export
from coordinator.taskfile import Train
from edge_client import newest
from edge_client.config import Adapter, Data, EdgeConfig
from edge_client.predict import predict_file, predict_stream, predictor
from firmware_sim.fleet import Fleet
from proto.codec import decode_signed
from proto.errors import ConfigError
from proto.messages import Task
from tests.adapters.conftest import write_rows


@pytest.fixture
def fleet(tmp_path, limits):
    made = Fleet(tmp_path)
    made.start_coordinator()

    def add(name: str, seed: int, changed: Adapter = limits) -> None:
        source = write_rows(tmp_path / f"{name}.tsv", seed)
        made.add_box(name, EdgeConfig(data=Data(source=source), adapter=changed))

    made.add = add  # type: ignore[attr-defined]
    return made


def run(fleet, file):
    fleet.submit(file)
    fleet.run(until=lambda: fleet.store.job(file.job).phase == "finished")
    return [r for r in fleet.store.rounds(file.job) if r.kind == 1]


def test_three_boxes_teach_one_adapter_that_answers_on_each(fleet, file, tmp_path, limits):
    wire = bytearray()
    fleet.broker.tap = lambda _topic, payload: wire.extend(payload)
    for seed, name in enumerate(("pi-1", "pi-2", "pi-3")):
        fleet.add(name, seed)
    rounds = run(fleet, file)
    assert [r.included for r in rounds] == [3, 3]

    source = write_rows(tmp_path / "new.tsv", 9)
    answers = predict_file(predictor(tmp_path / "pi-2", "sms", limits), source)
    assert [name for name, _ in answers] == ["ham", "spam"] * 12
    for secret in (b"WIN CASH", b"PRIZE", b"lunch at"):
        assert secret not in wire
    assert "torch" not in sys.modules


def test_what_is_too_large_for_one_publish_goes_up_in_pieces_and_down_in_chunks(fleet, file):
    model = replace(file.model, rank=64, alpha=128.0, share="ab")
    training = replace(file.training, bits=32, steps=1, warmup=0)
    table = replace(file.rounds, count=1)
    large = replace(file, model=model, training=training, rounds=table)
    for seed, name in enumerate(("pi-1", "pi-2")):
        fleet.add(name, seed)
    topics = []
    fleet.broker.tap = lambda topic, _payload: topics.append(topic)
    (done,) = run(fleet, large)
    assert done.included == 2
    assert done.bytes_up > 2 * 229_376
    parts = {topic.rsplit("/", 1)[1] for topic in topics if "/blob/" in topic}
    assert parts >= {"m", "0", "1"}
    # Nobody listens any more to what was fetched.
    for name in ("pi-1", "pi-2"):
        assert not any("/blob/" in p for p in fleet.boxes[name]._port.patterns)


def test_boxes_of_a_lower_rank_take_part_where_the_task_allows_it(fleet, file, limits):
    mixed = replace(file, model=replace(file.model, least_rank=1))
    fleet.add("large", 1)
    fleet.add("small", 2, replace(limits, rank=1))
    largest = {"large": 0, "small": 0}

    def tap(topic, payload):
        way, box, last = topic.split("/")[-3:]
        if (way, last) == ("up", "m"):
            largest[box] = max(largest[box], len(payload))

    fleet.broker.tap = tap
    assert [r.included for r in run(fleet, mixed)] == [2, 2]
    assert largest["small"] < 0.5 * largest["large"]


def test_a_box_of_a_lower_rank_says_why_where_the_task_does_not(fleet, file, limits):
    for name, seed in (("pi-1", 1), ("pi-2", 2)):
        fleet.add(name, seed)
    fleet.add("small", 3, replace(limits, rank=1))
    assert run(fleet, file)[0].included == 2
    assert any("rank 1 at most; the task asks 4" in r.text for r in fleet.store.said("sms", 0))


@pytest.mark.parametrize(
    "training",
    [Train(bits=4), Train(bits=2), Train(bits=8, keep=0.2), Train(bits=32, keep=0.05)],
)
def test_each_scheme_carries_the_rounds(fleet, file, training, tmp_path):
    small = replace(training, optimiser="adamw", steps=2, learning_rate=0.02)
    for seed, name in enumerate(("pi-1", "pi-2")):
        fleet.add(name, seed)
    rounds = run(fleet, replace(file, training=small))
    assert [r.included for r in rounds] == [2, 2]
    task = decode_signed(fleet.store.job("sms").task, Task)
    kept = list((tmp_path / "pi-1").glob("residuals/*"))
    assert bool(kept) == task.training.feedback == (training.keep < 1)


def test_both_halves_of_different_ranks_are_stacked(fleet, file, limits):
    model = replace(file.model, share="ab", combine="stacked", least_rank=1)
    fleet.add("large", 1)
    fleet.add("small", 2, replace(limits, rank=2))
    assert [r.included for r in run(fleet, replace(file, model=model))] == [2, 2]


def test_the_mean_of_both_halves_comes_with_a_warning(fleet, file):
    fleet.submit(replace(file, model=replace(file.model, share="ab")))
    said = [r.text for r in fleet.store.said("sms", 0)]
    assert any("not the mean of their products" in text for text in said)


def test_a_box_keeps_an_adapter_of_its_own_where_that_is_better(fleet, file, tmp_path, limits):
    table = replace(file.rounds, count=1)
    own = replace(file, model=replace(file.model, personal=40), rounds=table)
    for seed, name in enumerate(("pi-1", "pi-2")):
        fleet.add(name, seed)
    run(fleet, own)
    found = predictor(tmp_path / "pi-1", "sms", limits)
    source = write_rows(tmp_path / "new.tsv", 9)
    with_own = [chance for _, chance in predict_file(found, source)]
    (tmp_path / "pi-1" / "models" / "sms.personal").unlink()
    assert found.refresh()
    without = [chance for _, chance in predict_file(found, source)]
    assert np.mean(with_own) > np.mean(without)


def test_a_new_adapter_answers_from_the_next_line_on(fleet, file, tmp_path, limits):
    for seed, name in enumerate(("pi-1", "pi-2")):
        fleet.add(name, seed)
    run(fleet, file)
    home = tmp_path / "pi-1"
    name, last = newest.load(home, "sms")
    found = predictor(home, "sms", limits)
    stream = predict_stream(found, iter(["WIN CASH NOW! 5", "", "WIN CASH NOW! 5"]))
    _, before = next(stream)
    first = fleet.store.model_history("sms")[0].data
    newest.keep(home, name, replace(last, round=1, model=first))
    _, after = next(stream)
    assert before[1] != after[1]
    assert found.round == 1


def test_a_stream_refuses_a_line_without_an_end(fleet, file, tmp_path, limits):
    for seed, name in enumerate(("pi-1", "pi-2")):
        fleet.add(name, seed)
    run(
        fleet,
        replace(
            file,
            rounds=replace(file.rounds, count=1),
        ),
    )
    found = predictor(tmp_path / "pi-1", "sms", limits)
    with pytest.raises(ConfigError, match="1000000 characters"):
        next(predict_stream(found, iter(["x" * 10**6])))


def test_the_adapter_is_written_in_every_format(fleet, file, tmp_path, base):
    from quantization.adapters.files import read_adapter
    from quantization.runtime.model import open_model

    for seed, name in enumerate(("pi-1", "pi-2")):
        fleet.add(name, seed)
    run(fleet, replace(file, training=replace(file.training, steps=2)))
    paths = export(fleet.store, "sms", tmp_path / "out", base=str(base))
    assert [p.name for p in paths] == ["sms.npz", "sms.gguf", "sms.onnx_adapter", "sms"]
    arrays = np.load(paths[0], allow_pickle=False)
    with open_model(str(base)) as model:
        for path in paths[1:]:
            back = read_adapter(path, model.facts, model.sha256)
            for name in arrays:
                assert back.arrays[name] == pytest.approx(arrays[name], abs=2e-3)
    assert json.loads((paths[3] / "adapter_config.json").read_text())["r"] == 4
    with pytest.raises(ConfigError, match="not qasm"):
        export(fleet.store, "sms", tmp_path, ("qasm",))
    with pytest.raises(ConfigError, match="no known base model"):
        export(fleet.store, "sms", tmp_path, ("gguf",))


def test_llama_cpp_and_the_training_engine_decide_alike(fleet, file, tmp_path, limits):
    pytest.importorskip("llama_cpp")
    for seed, name in enumerate(("pi-1", "pi-2")):
        fleet.add(name, seed)
    run(fleet, file)
    source = write_rows(tmp_path / "new.tsv", 9, 100)
    one, other = (
        predict_file(predictor(tmp_path / "pi-1", "sms", limits, engine), source)
        for engine in ("onnx", "llama")
    )
    assert sum(a[0] == b[0] for a, b in zip(one, other, strict=True)) >= 99
    assert max(abs(a[1] - b[1]) for a, b in zip(one, other, strict=True)) < 0.1
