"""The demo of reading, whole: real processes, a real broker, a tiny base model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coordinator.taskadapter import AdapterModel
from coordinator.taskfile import Train, rules_of
from firmware_sim.telemetry import telemetry
from firmware_sim.text_demo import SERVER_RATE, Settings, run, tasks, telemetry_rows, write_jsonl
from firmware_sim.text_judge import Rows
from proto.errors import ConfigError


def tiny(base: Path) -> AdapterModel:
    return AdapterModel(base=str(base), blocks=2, rank=4, prompt="{text}?", tokens=64)


def test_boxes_learn_to_read_their_journals_and_the_exported_adapter_answers(base, tmp_path):
    table, split = telemetry(2, 72, 0, 8)
    rows = Rows("telemetry", table, split, tiny(base), Train(steps=4, optimiser="adamw", batch=8))
    settings = Settings(2, 1, out=tmp_path / "out", keep=tmp_path / "fleet")
    found = run(rows, settings)
    adapter, circuit = found["jobs"]["telemetry"], found["jobs"]["circuit"]
    assert [r["kind"] for r in adapter] == ["train", "evaluate"]
    assert [r["kind"] for r in circuit] == ["moments", *["train"] * 10, "evaluate"]
    assert all(r["included"] == 2 for r in (*adapter, *circuit))
    assert all(r["teacher_loss"] > 0 for r in circuit[1:-1])
    assert found["exported_agrees"] == 1.0
    assert found["exported_adapter_accuracy"] == found["adapter_accuracy"]
    assert found["sample"]["answer"] in ("holds", "fails")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"telemetry.gguf", "telemetry.onnx_adapter", "telemetry"}
    assert found["test_rows"] == 16


def test_the_rows_of_the_demo_are_the_telemetry_of_its_boxes():
    rows = telemetry_rows(Settings(clients=3, seed=5))
    assert len(rows.split.boxes) == 3
    assert all("{" + column + "}" in rows.model.prompt for column in rows.table.columns)


def test_a_boxs_file_holds_its_rows_and_no_others(tmp_path):
    table, split = telemetry(2, 24, 0, 8)
    write_jsonl(tmp_path / "box.jsonl", table, split.boxes[1])
    lines = [json.loads(line) for line in (tmp_path / "box.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == [table.texts[row] for row in split.boxes[1]]
    assert [line["label"] for line in lines] == np.array(table.labels)[split.boxes[1]].tolist()


def test_a_demo_of_nobody_is_refused(base):
    table, split = telemetry(1, 24, 0, 8)
    rows = Rows("telemetry", table, split, tiny(base), Train())
    with pytest.raises(ConfigError, match="at least one client"):
        run(rows, Settings(0, 1))


def test_a_plain_mean_of_updates_is_taken_whole_and_adams_step_is_not():
    rows = telemetry_rows(Settings(clients=2))
    plain, circuit = tasks(rows, Settings(clients=2))
    assert plain.rounds.aggregation == circuit.rounds.aggregation == "mean"
    assert rules_of(plain).server_rate == rules_of(circuit).server_rate == 1.0
    by_adam, *_ = tasks(replace(rows, aggregation="fedadam"), Settings(clients=2))
    assert rules_of(by_adam).server_rate == SERVER_RATE
