"""Training in a real child process: the same results, and words for every way it can end."""

import os
import queue
import signal
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.folding import first_model
from coordinator.taskfile import Data, Model, TaskFile, Train, task_of
from edge_client import config
from edge_client.journal import look
from edge_client.labour import carry_out
from edge_client.requests import Assignment, Broken, Done, Finding, Inspection
from edge_client.worker import Worker
from proto.codec import encode
from proto.messages import TRAIN, BlobRef, Execution, Offer
from tests.waiting import until

FOR_EVER = 100_000
WAIT = 60.0
TASK = task_of(
    TaskFile(
        job="job",
        data=Data(classes=("low", "high"), columns=("a", "b"), components=0),
        model=Model(reps=1),
        training=Train(steps=2),
    ),
    "fleet",
    1,
)


@pytest.fixture
def data(tmp_path) -> config.Data:
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{'high' if a > 0 else 'low'}" for a, b in rng.normal(size=(30, 2))]
    (tmp_path / "rows.csv").write_text("a,b,level\n" + "\n".join(rows))
    return config.Data(source=str(tmp_path / "rows.csv"))


def assignment(data: config.Data, turn: int = 1, steps: int = 2) -> Assignment:
    model = first_model(TASK, 0)
    offer = Offer(
        job="job",
        round=1,
        turn=turn,
        kind=TRAIN,
        task=bytes(16),
        key=bytes(32),
        model=BlobRef(digest=bytes(32), address=bytes(16), size=len(model)),
        features=None,
        inline=b"",
        steps=steps,
        seconds=60,
        seed=0,
    )
    return Assignment("pi-1", b"i" * 16, encode(TASK), offer, model, b"", data)


class Bench:
    """A worker whose results can be waited for."""

    def __init__(self) -> None:
        self._results: queue.SimpleQueue = queue.SimpleQueue()
        self.worker = Worker(self._results.put, linger=0.2)
        self.submit = self.worker.submit

    def next(self):
        return self._results.get(timeout=WAIT)

    def nothing_else(self) -> bool:
        return self._results.empty()

    @property
    def child(self):
        assert self.worker._child is not None
        return self.worker._child


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.worker.close()


def test_the_child_does_exactly_what_would_be_done_here(bench, data):
    look = Inspection(encode(TASK), data)
    bench.submit(look)
    bench.submit(assignment(data))
    finding, done = bench.next(), bench.next()
    assert finding == carry_out(look) == Finding(encode(TASK), 24)
    assert done == carry_out(assignment(data))
    assert isinstance(done, Done)


def test_what_goes_wrong_in_the_child_comes_back_as_words(bench, data):
    missing = replace(data, source=data.source + ".csv")
    bench.submit(assignment(missing, turn=4))
    bench.submit(Inspection(encode(TASK), missing))
    broken, finding = bench.next(), bench.next()
    assert (broken.turn, finding.rows) == (4, 0)
    assert "the box's own log says why" in broken.reason
    assert "No such file" in broken.detail
    assert "No such file" in finding.detail


def test_a_killed_child_leaves_its_jobs_and_the_next_one_repeats_none(bench, data, tmp_path):
    shots = Execution(backend="numpy", shots=16)
    task = replace(TASK, execution=shots, training=replace(TASK.training, steps=400))
    asked = replace(assignment(data, steps=400), task=encode(task))
    kept = replace(asked, home=str(tmp_path / "home"))
    bench.submit(kept)
    folder = tmp_path / "home" / "quantum"
    until(lambda: any(path.stat().st_size > 20_000 for path in folder.glob("*")))
    os.kill(bench.child.pid, signal.SIGKILL)
    assert "killed" in bench.next().reason
    (path,) = folder.glob("*.journal")
    before = look(path)
    bench.submit(kept)
    assert bench.next() == carry_out(asked)
    # What the second child wrote follows what the first had finished.
    assert look(path)[: len(before)] == before
    results = [record for record in look(path) if msgspec.msgpack.decode(record)[0] == 2]
    assert len(results) == 400 + 3


def test_a_child_that_reads_nothing_holds_up_nobody(bench, data):
    """A pipe takes 64 KiB; whoever serves the link must come back at once all the same."""
    bench.submit(Inspection(encode(TASK), data))
    bench.next()
    os.kill(bench.child.pid, signal.SIGSTOP)
    for turn in range(1, 9):
        bench.submit(
            replace(assignment(data, turn), home="x" * 2**18)
        )  # returns, or waits for ever
    bench.worker.cancel()
    assert bench.nothing_else()
    bench.submit(assignment(data, 9))
    assert bench.next().turn == 9


def test_the_child_stays_warm_and_then_ends_by_itself(bench, data):
    bench.submit(Inspection(encode(TASK), data))
    child = bench.child
    bench.next()
    bench.submit(Inspection(encode(TASK), data))
    assert bench.child is child
    bench.next()
    assert child.wait(timeout=WAIT) == 0


def test_a_child_killed_in_its_work_is_told_with_a_reason_and_the_next_one_works(bench, data):
    bench.submit(Inspection(encode(TASK), data))
    bench.next()
    bench.submit(assignment(data, turn=7, steps=FOR_EVER))
    bench.submit(Inspection(encode(TASK), data))
    os.kill(bench.child.pid, signal.SIGKILL)
    why = "the training process was killed; perhaps this box ran out of memory"
    assert bench.next() == Broken(7, why)
    assert bench.next() == Finding(encode(TASK), 24)  # done again: it was not its fault
    bench.submit(assignment(data))
    assert isinstance(bench.next(), Done)


def test_cancelled_work_is_never_heard_of_but_inspections_are_done_again(bench, data):
    bench.submit(assignment(data, steps=FOR_EVER))
    bench.submit(Inspection(encode(TASK), data))
    child = bench.child
    bench.worker.cancel()
    assert child.poll() == -signal.SIGKILL
    assert bench.next() == Finding(encode(TASK), 24)
    assert bench.nothing_else()


def test_cancelling_nothing_does_nothing(bench):
    bench.worker.cancel()
    bench.worker.cancel()
    assert bench.nothing_else()


def test_closing_ends_the_child_at_once_without_a_word(bench, data):
    bench.submit(assignment(data, steps=FOR_EVER))
    child = bench.child
    bench.worker.close()
    assert child.poll() is not None
    assert bench.nothing_else()
