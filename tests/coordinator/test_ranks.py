"""Adapters of several ranks become one: each column by those who trained it, or by the product."""

import itertools

import numpy as np
import pytest
from msgspec.structs import replace

from coordinator.ranks import way_of
from proto.adapter import Adapter, Target, adapter_layout
from proto.errors import RemoteError
from quantization.arrays import flatten, size, unflatten

BOTH = Adapter(
    base=bytes(32),
    blocks=2,
    rank=4,
    alpha=8.0,
    targets=(Target("q", 12, 10), Target("v", 12, 6)),
    share="ab",
    combine="stacked",
    least_rank=1,
    answers=("a", "b"),
)
FROZEN = replace(BOTH, share="b", combine="padded")


def drawn(adapter: Adapter, rank: int, seed: int, size_: float = 0.1) -> np.ndarray:
    layout = adapter_layout(adapter, rank)
    return (np.random.default_rng(seed).normal(size=size(layout)) * size_).astype(np.float32)


def combined(adapter, updates, model=None):
    way = way_of(adapter)
    state = way.init(adapter)
    for delta, rank, rows in updates:
        state = way.add(state, delta, rank, rows)
    if model is None:
        model = np.zeros(size(adapter_layout(adapter)), np.float32)
    return way.finish(state, model)


def test_of_one_rank_the_padded_mean_is_the_weighted_mean():
    one, two = drawn(FROZEN, 4, 1), drawn(FROZEN, 4, 2)
    mean = combined(FROZEN, [(one, 0, 30), (two, 4, 10)])
    assert mean == pytest.approx(0.75 * one + 0.25 * two, abs=1e-6)


def test_a_column_is_the_mean_over_those_who_trained_it():
    small, large = drawn(FROZEN, 1, 1), drawn(FROZEN, 4, 2)
    mean = unflatten(combined(FROZEN, [(small, 1, 30), (large, 0, 10)]), adapter_layout(FROZEN))
    small, large = (
        unflatten(delta, adapter_layout(FROZEN, rank)) for delta, rank in ((small, 1), (large, 4))
    )
    for name, array in mean.items():
        first = 0.75 * small[name][:, 0] + 0.25 * large[name][:, 0]
        assert array[:, 0] == pytest.approx(first, abs=1e-6)
        assert array[:, 1:] == pytest.approx(large[name][:, 1:], abs=1e-6)


def test_a_column_nobody_trained_stays_as_it_is():
    mean = unflatten(combined(FROZEN, [(drawn(FROZEN, 2, 1), 2, 5)]), adapter_layout(FROZEN))
    assert all(not array[:, 2:].any() and array[:, :2].any() for array in mean.values())


@pytest.mark.parametrize("adapter", [FROZEN, BOTH])
def test_who_came_first_changes_no_bit(adapter):
    updates = [(drawn(adapter, rank, rank), rank, 7 * rank) for rank in (1, 2, 4)]
    model = drawn(adapter, 4, 9)
    results = [combined(adapter, order, model) for order in itertools.permutations(updates)]
    assert all(np.array_equal(results[0], other) for other in results)


def products(adapter, vector, rank=0):
    arrays = unflatten(vector, adapter_layout(adapter, rank))
    return {
        t.name: arrays[f"lora_{t.name}_a"].astype(float) @ arrays[f"lora_{t.name}_b"]
        for t in adapter.targets
    }


def whole(delta, rank, model):
    """A box's own arrays as one vector of its rank."""
    old = unflatten(model, adapter_layout(BOTH))
    cut = {n: a[:, :, :rank] if n.endswith("_a") else a[:, :rank] for n, a in old.items()}
    return (
        flatten({n: np.ascontiguousarray(a) for n, a in cut.items()}, adapter_layout(BOTH, rank))
        + delta
    )


def test_stacked_is_the_exact_mean_of_products_while_it_fits_the_rank():
    model = drawn(BOTH, 4, 9, 0.3)
    updates = [(drawn(BOTH, 1, 1), 1, 30), (drawn(BOTH, 2, 2), 2, 10)]
    new = products(BOTH, model + combined(BOTH, updates, model))
    for name, product in new.items():
        mean = sum(
            share * products(BOTH, whole(delta, rank, model), rank)[name]
            for share, (delta, rank, _) in zip((0.75, 0.25), updates, strict=True)
        )
        assert product == pytest.approx(mean, abs=1e-6)


def test_stacked_beyond_the_rank_is_nearer_to_the_mean_of_products_than_the_mean_of_factors():
    model = drawn(BOTH, 4, 9, 0.3)
    updates = [(drawn(BOTH, 4, seed, 0.3), 4, 10) for seed in range(1, 6)]
    stacked, padded = (
        products(BOTH, model + combined(replace(BOTH, combine=way), updates, model))
        for way in ("stacked", "padded")
    )
    for name in stacked:
        mean = sum(products(BOTH, whole(d, 4, model), 4)[name] / 5 for d, _, _ in updates)
        assert np.linalg.norm(stacked[name] - mean) < np.linalg.norm(padded[name] - mean)


def test_stacked_leaves_the_first_models_a_where_there_is_no_product_yet():
    model = {n: np.ones(s, np.float32) * n.endswith("_a") for n, s in adapter_layout(BOTH)}
    start = flatten({n: a.astype(np.float32) for n, a in model.items()}, adapter_layout(BOTH))
    change = combined(BOTH, [(np.zeros_like(start), 0, 5)], start)
    assert not change.any()


@pytest.mark.parametrize("adapter", [FROZEN, BOTH])
def test_what_cannot_be_added_is_refused(adapter):
    with pytest.raises(RemoteError, match="no update"):
        combined(adapter, [])
    with pytest.raises(RemoteError, match="parameters"):
        combined(adapter, [(np.zeros(5, np.float32), 2, 1)])
    bad = drawn(adapter, 2, 1)
    bad[0] = np.nan
    with pytest.raises(RemoteError, match="not finite"):
        combined(adapter, [(bad, 2, 1)])
