"""An adapter on the box: its gradient, its limits, its states on disk, and that it learns."""

import numpy as np
import pytest
from msgspec.structs import replace

from edge_client import texts
from edge_client.adapter import bench as benches
from edge_client.adapter.bench import AdapterBench, Site, check_adapter_ready
from edge_client.train import Hyper, Rows, evaluate, local_update
from proto.adapter import Adapter, Target, adapter_layout
from proto.errors import LocalError, QfleetError, StorageError
from tests.adapters.conftest import write_rows


@pytest.fixture
def table(tmp_path):
    return texts.load(write_rows(tmp_path / "rows.tsv", 1), None, "text", ())


@pytest.fixture
def make(task, frozen, limits, tmp_path):
    def made(site: Site | None = None, **changes) -> AdapterBench:
        adapter = replace(task.model, **changes)
        given = b"" if adapter.share == "ab" else frozen
        return AdapterBench(adapter, given, site or Site(limits, tmp_path, steps=30, batch=8))

    return made


def random_arrays(adapter: Adapter, seed: int = 0):
    rng = np.random.default_rng(seed)
    return {n: (rng.normal(size=s) * 0.1).astype("f4") for n, s in adapter_layout(adapter)}


def test_a_fresh_adapter_changes_nothing_and_training_teaches_it(make, table):
    bench = make()
    model, ids = bench.model, bench.rows(table)
    arrays = model.init(np.random.default_rng(0))
    assert not any(array.any() for array in arrays.values())
    rows = Rows(ids[:16], table.y[:16], ids[16:], table.y[16:])
    update = local_update(model, arrays, rows, Hyper(60, 0.03, 8, 0, "adamw", warmup=3))
    assert update.last_loss < 0.5 * update.first_loss
    assert evaluate(model, update.arrays, ids[16:], table.y[16:]).accuracy == 1.0
    assert update.gradients == 60


@pytest.mark.parametrize("share", ["b", "ab"])
def test_the_gradient_is_that_of_the_loss(make, table, task, share):
    bench = make(share=share)
    model, ids = bench.model, bench.rows(table)[:4]
    rows, labels = model.prepare(ids), table.y[:4]
    arrays = random_arrays(replace(task.model, share=share))
    loss, grad = model.loss_and_grad(arrays, rows, labels)
    chances = model.predict(arrays, rows)
    assert loss == pytest.approx(-np.log(chances[range(4), labels]).mean(), abs=1e-5)
    rng = np.random.default_rng(1)
    for name in arrays:
        way = rng.normal(size=arrays[name].shape).astype("f4")
        ends = [
            model.loss_and_grad({**arrays, name: arrays[name] + step * way}, rows, labels)[0]
            for step in (3e-3, -3e-3)
        ]
        assert (ends[0] - ends[1]) / 6e-3 == pytest.approx(
            (grad[name] * way).sum(), rel=0.02, abs=2e-4
        )


def test_a_small_box_works_through_a_batch_in_parts_with_the_same_gradient(
    make, table, task, monkeypatch
):
    arrays = random_arrays(task.model)
    whole = make()
    rows = whole.model.prepare(whole.rows(table)[:7])
    expected = whole.model.loss_and_grad(arrays, rows, table.y[:7])
    monkeypatch.setattr(benches, "part_of", lambda *_: 2)
    small = make()
    loss, grad = small.model.loss_and_grad(arrays, rows, table.y[:7])
    assert loss == pytest.approx(expected[0], abs=1e-5)
    for name, array in grad.items():
        assert array == pytest.approx(expected[1][name], abs=1e-5)


def test_a_batch_of_all_rows_is_worked_through_in_parts(make, table, limits, tmp_path):
    bench = make(Site(limits, tmp_path, steps=2, batch=0))
    arrays = bench.model.init(np.random.default_rng(0))
    ids = bench.rows(table)
    rows = Rows(ids[:20], table.y[:20], ids[20:], table.y[20:])
    update = local_update(bench.model, arrays, rows, Hyper(2, 1.0, 0, 0, "sgd"))
    assert update.last_loss < update.first_loss


def test_a_lower_rank_is_the_first_columns_and_the_same_function(
    make, table, task, limits, tmp_path
):
    arrays = random_arrays(task.model)
    low = make(Site(replace(limits, rank=2), tmp_path, 30, whole=False), least_rank=1)
    assert low.rank == 2
    cut = low.cut(arrays)
    assert {n: a.shape for n, a in cut.items()} == dict(adapter_layout(task.model, 2))
    zeroed = {n: a.copy() for n, a in arrays.items()}
    for array in zeroed.values():
        array[:, 2:] = 0
    full = make()
    ids = full.rows(table)[:5]
    one = low.model.predict(cut, low.model.prepare(ids))
    assert one == pytest.approx(full.model.predict(zeroed, full.model.prepare(ids)), abs=1e-5)


def test_a_rank_below_the_tasks_least_is_refused(task, limits):
    with pytest.raises(LocalError, match="rank 2 at most; the task asks 4"):
        check_adapter_ready(task.model, replace(limits, rank=2), 8)


def test_the_trunk_runs_once_for_each_row_and_changed_rows_alone_run_again(
    make, table, monkeypatch
):
    ran: list[int] = []
    bench = make()
    opened = bench._engine.trunk

    def counting():
        run = opened()
        return lambda batches: (ran.extend(map(len, batches)), run(batches))[1]

    monkeypatch.setattr(bench._engine, "trunk", counting)
    ids = bench.rows(table)
    first = bench.model.prepare(ids)
    assert sum(ran) == len(np.unique(ids, axis=0))
    ran.clear()
    again = bench.model.prepare(ids)
    assert np.array_equal(first.states()[0], again.states()[0])
    halves = [make().model.prepare(part).states()[0] for part in (ids[:9], ids[9:])]
    assert sum(map(len, halves)) == len(ids)
    assert not ran
    ids[3, 1:] = ids[3, :0:-1]
    bench.model.prepare(ids)
    assert sum(ran) == 1


def test_states_in_memory_and_on_disk_are_the_same(make, table, limits):
    ids = make().rows(table)
    disk = make().model.prepare(ids).take(np.array([3, 1]))
    memory = make(Site(limits, None)).model.prepare(ids).take(np.array([3, 1]))
    assert np.array_equal(disk.states()[0], memory.states()[0])
    assert np.array_equal(disk.states()[1], memory.states()[1])


def test_a_damaged_file_of_states_is_made_again(make, table, tmp_path):
    bench = make()
    before = bench.model.prepare(bench.rows(table)).states()[0]
    path = next((tmp_path / "hidden").glob("*.hidden"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert np.array_equal(make().model.prepare(bench.rows(table)).states()[0], before)


def test_a_file_that_vanishes_while_it_is_used_is_told(make, table, tmp_path):
    rows = make().model.prepare(make().rows(table))
    next((tmp_path / "hidden").glob("*.hidden")).unlink()
    with pytest.raises(LocalError, match="hidden states are gone"):
        rows.states()


def test_states_that_take_more_than_allowed_are_refused_before_the_trunk_runs(
    make, table, limits, tmp_path
):
    bench = make(Site(replace(limits, cache_mib=0), tmp_path, steps=1))
    with pytest.raises(LocalError, match=r"1 MiB of disk; adapter\.cache_mib allows 0"):
        bench.model.prepare(bench.rows(table))


def test_older_states_make_room_for_newer_ones(make, table, limits, tmp_path):
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "old.hidden").write_bytes(bytes(2**20))
    bench = make(Site(replace(limits, cache_mib=1), tmp_path, steps=1))
    bench.model.prepare(bench.rows(table))
    assert not (folder / "old.hidden").exists()


def test_a_full_disk_is_told_as_such(make, table, tmp_path):
    (tmp_path / "hidden").write_text("no folder")
    bench = make()
    with pytest.raises(StorageError, match="cannot write"):
        bench.model.prepare(bench.rows(table))


def test_a_text_is_cut_and_the_words_round_it_never(make, table, task):
    long = replace(task.model, prompt="Text: {text} Answer:", tokens=32)
    bench = make(prompt=long.prompt)
    longer = texts.Table(table.X[:1], table.y[:1], (), table.classes, ("x" * 500,))
    ids = bench.rows(longer)[0]
    said = bench._engine.model.tokens.decode(ids.tolist())
    assert len(ids) == 32
    assert said.startswith("Text: xxx")
    assert said.endswith("x Answer:")
    with pytest.raises(LocalError, match="own words take"):
        make(prompt="{text}" + "y" * 40).rows(longer)


def test_numbers_go_into_the_prompt_by_name(make, table):
    bench = make(prompt="{load} {text}")
    one = texts.Table(np.array([[0.25]]), table.y[:1], ("load",), table.classes, ("hot",))
    ids = bench.rows(one)[0]
    assert bench._engine.model.tokens.decode(ids.tolist()) == "0.25 hot"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answers": (" yes", " maybe")}, "' maybe' is . tokens"),
        ({"base": bytes(32)}, "SHA-256"),
        ({"targets": (Target("q", 64, 64),), "share": "ab"}, "q has other widths"),
    ],
)
def test_a_task_this_base_model_cannot_serve_is_refused(make, table, changes, said):
    def prepared() -> None:
        bench = make(**changes)
        bench.model.prepare(bench.rows(table))

    with pytest.raises(QfleetError, match=said):
        prepared()


def test_a_box_without_the_memory_refuses_before_it_starts(task, limits):
    with pytest.raises(LocalError, match=r"takes 9\d MiB of memory; this box has 64"):
        check_adapter_ready(task.model, replace(limits, memory_mib=64), 8)


def test_a_box_without_the_base_model_says_what_to_do(task, limits, tmp_path, monkeypatch):
    monkeypatch.setenv("QFLEET_CACHE", str(tmp_path))
    sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    adapter = replace(task.model, base=bytes.fromhex(sha256))
    with pytest.raises(LocalError, match="quantize pull smollm2-135m"):
        check_adapter_ready(adapter, replace(limits, base=""), 8)


def test_a_round_that_ends_too_soon_is_refused_on_the_first_measurement(
    make, table, limits, tmp_path
):
    bench = make(Site(limits, tmp_path, steps=10_000, batch=8, seconds=0.0))
    with pytest.raises(LocalError, match="the round gives 0"):
        bench.model.prepare(bench.rows(table))
