import itertools
import os

import numpy as np
import pytest
from msgspec.structs import replace

from coordinator import folding, kinds
from coordinator.folding import (
    EXACT,
    Checks,
    Part,
    Server,
    first_model,
    fold,
    layout_of,
    scheme_of,
)
from coordinator.taskfile import Data, Model, TaskFile, task_of
from proto.errors import RemoteError
from proto.messages import EVALUATE, MOMENTS, TRAIN, Metrics, Update
from quantization import moments
from quantization.arrays import flatten, size, unflatten
from quantization.pack import pack, unpack

FILE = TaskFile(
    job="job",
    data=Data(classes=("no", "yes"), columns=("a", "b", "c"), components=2),
    model=Model(reps=1),
)
TASK = task_of(FILE, "fleet", 1)
LAYOUT = layout_of(TASK)
MODEL = first_model(TASK, 0)


def metrics(**changes) -> Metrics:
    base = Metrics(
        first_loss=0.7,
        last_loss=0.5,
        validation_loss=0.6,
        validation_accuracy=0.75,
        validation_rows=10,
        steps=3,
        gradients=3,
    )
    return replace(base, **changes)


def trained(seed: int, rows: int = 40, **changes) -> Part:
    numbers = np.random.default_rng(seed).normal(size=size(LAYOUT), scale=0.1)
    arrays = unflatten(numbers.astype(np.float32), LAYOUT)
    payload = pack(arrays, LAYOUT, scheme_of(TASK), np.random.default_rng(seed))
    return Part(rows, payload, metrics(**changes))


def measured(seed: int, rows: int = 30) -> Part:
    X = np.random.default_rng(seed).normal(size=(rows, 3)) + seed
    return Part(rows, moments.moments_to_bytes(moments.measure(X)), None)


def update(part: Part) -> Update:
    return Update(
        id=os.urandom(16),
        turn=1,
        model=bytes(32),
        rows=part.rows,
        payload=part.payload,
        metrics=part.metrics,
    )


def numbers_of(packed: bytes) -> np.ndarray:
    return flatten(unpack(packed, LAYOUT, EXACT), LAYOUT)


def test_the_first_model_depends_on_the_seed_alone_and_is_small():
    assert first_model(TASK, 3) == first_model(TASK, 3) != first_model(TASK, 4)
    assert np.abs(numbers_of(MODEL)).max() <= kinds.SPREAD


def test_the_next_model_is_the_old_one_moved_by_the_weighted_mean():
    parts = [trained(1, 30), trained(2, 10)]
    result = fold(TASK, TRAIN, MODEL, parts)
    deltas = [flatten(unpack(p.payload, LAYOUT, scheme_of(TASK)), LAYOUT) for p in parts]
    expected = numbers_of(MODEL) + 0.75 * deltas[0] + 0.25 * deltas[1]
    assert numbers_of(result.data) == pytest.approx(expected, abs=1e-6)
    assert result.included == 2


@pytest.mark.parametrize("name", folding.AGGREGATIONS)
def test_the_order_of_arrival_changes_no_bit_of_any_aggregation(name):
    parts = [trained(seed, 10 + seed) for seed in range(4)]
    orders = itertools.permutations(parts)
    results = [fold(TASK, TRAIN, MODEL, order, Server(name)) for order in orders]
    assert len({(result.data, result.state) for result in results}) == 1


def test_one_absurd_box_of_five_hardly_moves_the_median_or_the_trimmed_mean():
    good = [trained(seed) for seed in range(4)]
    arrays = unflatten(np.full(size(LAYOUT), 200.0, np.float32), LAYOUT)
    bad = Part(10**6, pack(arrays, LAYOUT, scheme_of(TASK), np.random.default_rng(0)), metrics())
    moved = {
        name: np.abs(numbers_of(fold(TASK, TRAIN, MODEL, [*good, bad], Server(name)).data)).max()
        for name in ("mean", "trimmed-mean", "median")
    }
    assert moved["mean"] > 100
    assert max(moved["median"], moved["trimmed-mean"]) < 1


def test_fedadam_goes_on_from_the_state_the_last_round_left():
    parts = [trained(1), trained(2)]
    first = fold(TASK, TRAIN, MODEL, parts, Server("fedadam"))
    again = fold(TASK, TRAIN, first.data, parts, Server("fedadam"))
    second = fold(TASK, TRAIN, first.data, parts, Server("fedadam", state=first.state))
    steps = [numbers_of(r.data) - numbers_of(first.data) for r in (again, second)]
    assert np.abs(steps[1]).sum() > 1.2 * np.abs(steps[0]).sum()
    assert fold(TASK, TRAIN, MODEL, parts).state == b""


def test_a_stale_update_counts_less_and_makes_the_step_smaller():
    fresh = [trained(1, 30), trained(2, 10)]
    old = [fresh[0], replace(fresh[1], stale=3)]
    deltas = [flatten(unpack(p.payload, LAYOUT, scheme_of(TASK)), LAYOUT) for p in fresh]
    result = fold(TASK, TRAIN, MODEL, old)
    expected = numbers_of(MODEL) + 0.75 * deltas[0] + 0.25 * 0.5 * deltas[1]
    assert numbers_of(result.data) == pytest.approx(expected, abs=1e-6)
    assert result.figures.staleness == 1.5
    assert fold(TASK, TRAIN, MODEL, fresh).figures.staleness == 0.0


def test_the_order_of_arrival_changes_no_bit_among_stale_updates():
    parts = [replace(trained(seed, 10 + seed), stale=seed) for seed in range(4)]
    results = {fold(TASK, TRAIN, MODEL, order).data for order in itertools.permutations(parts)}
    assert len(results) == 1


def test_the_servers_rate_scales_the_step():
    parts = [trained(1), trained(2)]
    whole, half = (fold(TASK, TRAIN, MODEL, parts, Server(rate=rate)).data for rate in (1.0, 0.5))
    moved = [numbers_of(data) - numbers_of(MODEL) for data in (whole, half)]
    assert moved[1] == pytest.approx(0.5 * moved[0], abs=1e-6)


def test_the_order_of_arrival_changes_no_bit():
    parts = [trained(seed, 10 + seed) for seed in range(4)]
    results = {fold(TASK, TRAIN, MODEL, order).data for order in itertools.permutations(parts)}
    assert len(results) == 1
    pooled = [measured(seed, 30 + seed) for seed in range(4)]
    maps = {fold(TASK, MOMENTS, b"", order).data for order in itertools.permutations(pooled)}
    assert len(maps) == 1


def test_figures_are_means_weighted_by_the_rows_they_are_of():
    parts = [
        trained(1, 30, first_loss=1.0, validation_loss=0.2, validation_accuracy=1.0),
        trained(2, 10, first_loss=2.0, validation_rows=30),
    ]
    figures = fold(TASK, TRAIN, MODEL, parts).figures
    assert figures.first_loss == pytest.approx(1.25)
    assert figures.validation_loss == pytest.approx((0.2 * 10 + 0.6 * 30) / 40)
    assert figures.validation_accuracy == pytest.approx((10 + 0.75 * 30) / 40)
    assert (figures.rows, figures.validation_rows, figures.gradients) == (40, 40, 6)


def test_without_validation_rows_anywhere_there_is_no_validation_figure():
    figures = fold(TASK, TRAIN, MODEL, [trained(1, validation_rows=0)]).figures
    assert (figures.validation_loss, figures.validation_accuracy) == (None, None)


def test_an_evaluation_gives_figures_and_no_model():
    result = fold(TASK, EVALUATE, MODEL, [Part(40, b"", metrics()), Part(40, b"", metrics())])
    assert (result.data, result.included) == (b"", 2)
    assert result.figures.validation_accuracy == 0.75


def test_moments_give_the_feature_map_of_all_rows_together():
    result = fold(TASK, MOMENTS, b"", [measured(1), measured(2)])
    layout = moments.feature_layout(3, 2)
    rows = [np.random.default_rng(seed).normal(size=(30, 3)) + seed for seed in (1, 2)]
    features = moments.feature_map(unpack(result.data, layout, EXACT)).apply(np.vstack(rows))
    assert features.mean(axis=0) == pytest.approx(0.0, abs=1e-5)
    assert features.std(axis=0) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("kind", [TRAIN, EVALUATE, MOMENTS])
def test_a_good_update_passes_the_check_it_would_be_folded_by(kind):
    good = {TRAIN: trained(1), EVALUATE: Part(40, b"", metrics()), MOMENTS: measured(1)}
    Checks(TASK).check(kind, update(good[kind]))


@pytest.mark.parametrize(
    ("kind", "part", "said"),
    [
        (TRAIN, replace(trained(1), metrics=None), "without metrics"),
        (TRAIN, replace(trained(1), payload=b""), "does not unpack: 0 bytes"),
        (TRAIN, replace(trained(1), payload=trained(1).payload + b"?"), "does not unpack"),
        (TRAIN, Part(40, MODEL, metrics()), "does not unpack"),
        (EVALUATE, trained(1), "carries a payload"),
        (EVALUATE, Part(40, b"", None), "without metrics"),
        (MOMENTS, trained(1), "does not unpack"),
        (MOMENTS, Part(40, bytes(76), None), "does not unpack"),
    ],
)
def test_an_update_that_could_not_be_folded_is_refused(kind, part, said):
    with pytest.raises(RemoteError, match=said):
        Checks(TASK).check(kind, update(part))


def test_sums_over_many_more_rows_than_a_box_trains_on_are_refused():
    with pytest.raises(RemoteError, match="sums over 30 rows of a box that trains on 7"):
        Checks(TASK).check(MOMENTS, update(replace(measured(1), rows=7)))


def test_an_absurdly_large_update_is_refused():
    arrays = unflatten(np.full(size(LAYOUT), 1000.0, np.float32), LAYOUT)
    payload = pack(arrays, LAYOUT, scheme_of(TASK), np.random.default_rng(0))
    with pytest.raises(RemoteError, match="by more than"):
        Checks(TASK).check(TRAIN, update(Part(40, payload, metrics())))


def test_training_that_nobody_delivered_for_cannot_be_folded():
    with pytest.raises(RemoteError, match="no update"):
        fold(TASK, TRAIN, MODEL, [])


def test_moments_that_nobody_delivered_cannot_be_folded():
    with pytest.raises(RemoteError, match="0 rows in all"):
        fold(TASK, MOMENTS, b"", [])


def test_the_teachers_loss_is_over_the_boxes_that_have_one():
    parts = [
        trained(0, validation_loss=1.0, validation_rows=10, teacher_loss=0.2),
        trained(1, validation_loss=2.0, validation_rows=30, teacher_loss=0.4),
        trained(2, validation_loss=9.0, validation_rows=0, teacher_loss=9.0),
        trained(3, validation_loss=1.75, validation_rows=8),
    ]
    figures = fold(TASK, TRAIN, MODEL, parts).figures
    assert figures.teacher_loss == pytest.approx(0.35)
    assert figures.validation_loss == pytest.approx(1.75)
    assert figures.distance == pytest.approx((0.75 + 0.25 + 0.0) / 3)
