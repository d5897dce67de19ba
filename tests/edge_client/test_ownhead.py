"""With personal heads a box keeps its head, and an update holds the circuit's angles alone."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.folding import Checks, first_model, fold, layout_of, sent_of
from coordinator.taskfile import Data, Model, TaskFile, Train, task_of
from coordinator.updates import Part
from edge_client import config, newest
from edge_client.labour import carry_out
from edge_client.ownhead import with_head
from edge_client.predict import predictor
from edge_client.requests import Assignment, Broken, Done
from proto.codec import encode
from proto.errors import ConfigError
from proto.messages import EVALUATE, TRAIN, BlobRef, Offer, Update
from quantization.pack import unpack
from quantization.scheme import EXACT

FILE = TaskFile(
    job="job",
    data=Data(classes=("low", "high"), columns=("a", "b"), components=0),
    model=Model(reps=1),
    training=Train(steps=40, personal_head=True),
)
TASK = task_of(FILE, "fleet", 1)
MODEL = first_model(TASK, 0)


@pytest.fixture
def data(tmp_path) -> config.Data:
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{'high' if a > 0 else 'low'}" for a, b in rng.normal(size=(30, 2))]
    (tmp_path / "rows.csv").write_text("a,b,level\n" + "\n".join(rows))
    return config.Data(source=str(tmp_path / "rows.csv"))


def ask(data: config.Data, home: Path, turn: int, model: bytes = MODEL, kind: int = TRAIN):
    offer = Offer(
        job="job",
        round=1,
        turn=turn,
        kind=kind,
        task=bytes(16),
        key=bytes(32),
        model=BlobRef(digest=bytes(32), address=bytes(16), size=len(model)),
        features=None,
        inline=b"",
        steps=40,
        seconds=60,
        seed=0,
    )
    asked = Assignment("pi-1", b"i" * 16, encode(TASK), offer, model, b"", data)
    return carry_out(replace(asked, home=str(home)))


def updated(done: object) -> Update:
    assert isinstance(done, Done), done
    return done.update


def own_head(home: Path) -> np.ndarray:
    return with_head(str(home), TASK, unpack(MODEL, layout_of(TASK), EXACT))["head"]


def test_only_the_angles_leave_and_the_fleets_head_stays_as_it_was(data, tmp_path):
    update = updated(ask(data, tmp_path, 1))
    Checks(TASK).check(TRAIN, update)
    whole = task_of(replace(FILE, training=Train(steps=40)), "fleet", 1)
    assert [name for name, _ in sent_of(TASK)] == ["angles"]
    assert [name for name, _ in sent_of(whole)] == ["angles", "head", "bias"]
    result = fold(TASK, TRAIN, MODEL, [Part(update.rows, update.payload, update.metrics)])
    before, after = (unpack(m, layout_of(TASK), EXACT) for m in (MODEL, result.data))
    assert np.array_equal(after["head"], before["head"])
    assert np.array_equal(after["bias"], before["bias"])
    assert np.abs(after["angles"] - before["angles"]).max() > 0.1
    assert np.abs(own_head(tmp_path) - before["head"]).max() > 0.1


def test_the_next_round_starts_from_the_boxs_own_head(data, tmp_path):
    first = updated(ask(data, tmp_path, 1)).metrics
    part = updated(ask(data, tmp_path, 1))
    model = fold(TASK, TRAIN, MODEL, [Part(24, part.payload, part.metrics)]).data
    second = updated(ask(data, tmp_path, 2, model)).metrics
    assert second.first_loss == pytest.approx(first.last_loss, abs=0.03)  # but for 8 bits
    stranger = updated(ask(data, tmp_path / "new", 2, model)).metrics
    assert stranger.first_loss > second.first_loss + 0.05


def test_a_turn_that_is_done_again_gives_the_same_update(data, tmp_path):
    updated(ask(data, tmp_path, 1))
    second, again = (ask(data, tmp_path, 2) for _ in range(2))
    assert second == again
    third = updated(ask(data, tmp_path, 3))
    assert third.payload != updated(second).payload


def test_an_evaluation_and_a_prediction_are_by_the_boxs_own_head(data, tmp_path):
    trained = updated(ask(data, tmp_path, 1))
    model = fold(TASK, TRAIN, MODEL, [Part(24, trained.payload, trained.metrics)]).data
    judged = updated(ask(data, tmp_path, 2, model, EVALUATE)).metrics
    assert judged.first_loss == pytest.approx(trained.metrics.last_loss, abs=0.03)
    for home in (tmp_path, tmp_path / "new"):
        newest.keep(home, "job", newest.Newest(1, encode(TASK), model, b""))
    X = np.random.default_rng(1).normal(size=(40, 2))
    chances = predictor(tmp_path, "job").probabilities(X)
    assert ((chances[:, 1] > 0.5) == (X[:, 0] > 0)).mean() > 0.8
    with pytest.raises(ConfigError, match="gets its in its first round"):
        predictor(tmp_path / "new", "job")


def test_a_damaged_head_is_told_with_the_file_to_delete(data, tmp_path):
    updated(ask(data, tmp_path, 1))
    (path,) = (tmp_path / "personal").glob("job-*.head")
    path.write_bytes(path.read_bytes()[:-3])
    broken = ask(data, tmp_path, 2)
    assert isinstance(broken, Broken)
    assert str(path) in broken.detail
    assert "delete it" in broken.detail
    assert str(path) not in broken.reason
