"""What a box cannot train an adapter on: a reason for the coordinator, the cell for its own log."""

import resource
import shutil
import struct
from pathlib import Path

import pytest
from msgspec.structs import replace

from coordinator.folding import first_model
from coordinator.kinds import first_shared
from edge_client import config
from edge_client.labour import carry_out
from edge_client.requests import Assignment, Broken, Done, Inspection
from proto.codec import encode
from proto.messages import TRAIN, BlobRef, Offer, Task
from tests.adapters.conftest import write_rows


@pytest.fixture
def ask(task, limits, tmp_path):
    """Both things a box does with rows and an adapter's task."""

    def asked(source: Path, limits: config.Adapter = limits, received: Task = task):
        model, home = first_model(received, 0), str(tmp_path / "home")
        Path(home).mkdir(exist_ok=True)
        offer = Offer(
            job="sms",
            round=1,
            turn=1,
            kind=TRAIN,
            task=bytes(16),
            key=bytes(32),
            model=BlobRef(digest=bytes(32), address=bytes(16), size=len(model)),
            features=None,
            inline=b"",
            steps=4,
            seconds=3600,
            seed=0,
        )
        data, shared = config.Data(source=str(source)), first_shared(task, 0)
        given = (encode(task), offer, model, shared, data)
        requests = (
            Inspection(encode(task), data, adapter=limits),
            Assignment("pi-1", b"i" * 16, *given, home=home, adapter=limits),
        )
        return tuple(map(carry_out, requests))

    return asked


@pytest.fixture
def rows(tmp_path) -> Path:
    return Path(write_rows(tmp_path / "rows.tsv", 1))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "phish\tsend me your key",
            "'phish' is not a class of the task: ham, spam (first in row 25)",
        ),
        ("ham\t" + "x" * 10**6, "line 26: longer than 65536 characters"),
        ("ham\t" + "x" * 9000, "line 26: a text of 9000 characters; 8192 are accepted"),
        ("ham\t ", "line 26: no text in column 'text'"),
        ("\tlunch at noon", "line 26: no label in column 'label'"),
    ],
)
def test_a_bad_row_is_named_in_the_boxs_log_alone(ask, rows, line, said):
    rows.write_text(rows.read_text() + "\n" + line)
    for answer in ask(rows):
        assert said in answer.detail
        assert answer.reason.endswith("the box's own log says why")


def test_a_box_without_a_row_of_one_class_trains_and_its_log_says_so(ask, rows):
    rows.write_text("\n".join(f"ham\tlunch at noon {n}" for n in range(24)))
    finding, done = ask(rows)
    assert "all 24 rows are of class 'ham'" in finding.detail
    assert isinstance(done, Done)
    update = done.update
    assert update.metrics.last_loss < update.metrics.first_loss


def test_a_truncated_base_model_is_told_as_such(ask, rows, base, limits, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(base.read_bytes()[:-1000])
    for answer in ask(rows, replace(limits, base=str(cut))):
        assert "cut.gguf" in answer.detail
        assert "SHA-256" in answer.detail


def test_a_base_model_of_another_architecture_is_told_as_such(ask, rows, base, limits, tmp_path):
    other = tmp_path / "other.gguf"
    word = struct.pack("<Q", 5) + b"llama"
    other.write_bytes(base.read_bytes().replace(word, struct.pack("<Q", 5) + b"qwen2", 1))
    for answer in ask(rows, replace(limits, base=str(other))):
        assert "other.gguf" in answer.detail


@pytest.mark.parametrize("changes", [{"rank": 2}, {"blocks": 1}])
def test_a_model_of_another_rank_than_the_tasks_is_refused(ask, rows, task, limits, changes):
    other = replace(task, model=replace(task.model, **changes))
    _, broken = ask(rows, limits, other)
    assert isinstance(broken, Broken)
    assert "perhaps one of another rank" in broken.reason


def test_states_that_fill_the_disk_cost_the_turn_and_leave_no_half_file(ask, rows, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        finding, broken = ask(rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert finding.rows > 0
    assert isinstance(broken, Broken)
    assert "disk is full" in broken.reason
    assert "File too large" in broken.detail
    assert not list((tmp_path / "home" / "hidden").iterdir())
    assert isinstance(ask(rows)[1], Done)


def test_a_disk_with_less_room_than_states_take_is_told_before_they_are_worked_out(
    ask, rows, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    _, broken = ask(rows)
    assert isinstance(broken, Broken)
    assert "1 MiB of disk; 0 are free" in broken.detail
    assert not (tmp_path / "home" / "hidden").exists()
