import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from quantization.arrays import BadArrays, layout_of
from quantization.moments import (
    MAX_CELL,
    MIN_ROWS,
    FeatureMap,
    Moments,
    add,
    feature_layout,
    feature_map,
    finish,
    init,
    measure,
    moments_from_bytes,
    moments_to_bytes,
)
from quantization.pack import pack, unpack
from quantization.scheme import Scheme


def fit(parts: list[np.ndarray], components: int) -> FeatureMap:
    pooled = init(parts[0].shape[1])
    for part in parts:
        pooled = add(pooled, measure(part))
    return finish(pooled, components)


def rows(seed: int, n: int = 60, d: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * 10 + rng.normal(size=d) * 50


def peer(X: np.ndarray, components: int) -> np.ndarray:
    pipeline = make_pipeline(StandardScaler(), PCA(components, svd_solver="full"), StandardScaler())
    return pipeline.fit_transform(X)


def assert_equal_up_to_sign(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    signs = np.sign((ours * theirs).sum(axis=0))
    assert np.abs(ours * signs - theirs).max() < tolerance


def test_the_map_of_ten_boxes_is_scikit_learns_on_all_rows():
    X = load_breast_cancer().data
    ours = fit(np.array_split(X, 10), 4).apply(X)
    assert ours.dtype == np.float32
    assert_equal_up_to_sign(ours, peer(X, 4), 1e-5)


@given(st.integers(0, 10_000), st.integers(1, 5))
@settings(max_examples=20)
def test_the_map_is_scikit_learns_on_any_rows(seed, components):
    X = rows(seed)
    ours = fit([X[:20], X[20:45], X[45:][:15].repeat(2, axis=0)[:30]], components)
    pooled = np.concatenate([X[:20], X[20:45], X[45:][:15].repeat(2, axis=0)[:30]])
    assert_equal_up_to_sign(ours.apply(pooled), peer(pooled, components), 1e-3)


def test_the_map_does_not_depend_on_the_order_of_arrival_by_a_single_bit():
    moments = [measure(rows(seed) * 10.0**seed) for seed in range(5)]
    states = set()
    for order in itertools.permutations(moments):
        pooled = init(5)
        for one in order:
            pooled = add(pooled, one)
        states.add(pooled)
    assert len(states) == 1


def test_each_components_largest_loading_is_positive():
    X = rows(3)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    matrix = fit([X], 5).matrix
    assert (matrix[np.abs(matrix).argmax(axis=0), np.arange(5)] > 0).all()


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6])
def test_a_constant_column_weighs_nothing(constant):
    X = rows(4)
    X[:, 2] = constant
    ours = fit([X[:30], X[30:]], 3)
    assert not ours.matrix[2].any()
    assert_equal_up_to_sign(ours.apply(X), peer(X, 3), 1e-4)


def test_a_component_without_variance_is_zero_and_not_amplified_noise():
    X = rows(5)
    X[:, 4] = X[:, 0] * 3 + 7
    assert not fit([X], 5).matrix[:, 4].any()


def test_a_column_far_from_zero_keeps_its_variance():
    X = rows(6)
    X[:, 0] += 1e5
    ours = fit([X[:30], X[30:]], 4)
    assert np.allclose(ours.apply(X).std(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e16])
def test_a_cell_that_is_not_a_usable_number_is_refused(bad):
    X = rows(0)
    X[7, 2] = bad
    with pytest.raises(BadArrays, match="cell"):
        measure(X)


def test_too_few_rows_are_not_summarised():
    with pytest.raises(BadArrays, match="19 rows"):
        measure(rows(0)[: MIN_ROWS - 1])
    assert measure(rows(0)[:MIN_ROWS]).count == MIN_ROWS


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(MIN_ROWS, 30), st.integers(1, 4)),
        elements=st.floats(-MAX_CELL, MAX_CELL),
    )
)
def test_moments_of_any_honest_rows_survive_their_bytes(X):
    moments = measure(X)
    back = moments_from_bytes(moments_to_bytes(moments), X.shape[1])
    assert back.count == moments.count
    assert np.array_equal(back.sum, moments.sum)
    assert np.array_equal(back.product, moments.product)
    assert np.isfinite(finish(add(init(X.shape[1]), back), 1).matrix).all()


@given(st.integers(1, 4), st.data())
def test_any_bytes_give_usable_moments_or_bad_arrays(columns, data):
    length = 4 + 8 * (columns + columns * (columns + 1) // 2)
    length = data.draw(st.just(length) | st.integers(0, 100))
    raw = data.draw(st.binary(min_size=length, max_size=length))
    if data.draw(st.booleans()):
        raw = (40).to_bytes(4, "little") + raw[4:]
    try:
        moments = moments_from_bytes(raw, columns)
    except BadArrays:
        return
    assert np.isfinite(finish(add(init(columns), moments), columns).matrix).all()


@pytest.mark.parametrize(
    ("count", "total", "square", "text"),
    [
        (19, 1.0, 1.0, "19 rows"),
        (2**32 - 1, 1.0, 1.0, "rows"),
        (20, np.nan, 1.0, "sum"),
        (20, 1.0, np.inf, "product"),
        (20, 0.0, -1.0, "sum of squares"),
        (20, 100.0, 1.0, "sum of squares"),
    ],
)
def test_moments_no_rows_could_have_are_refused(count, total, square, text):
    data = count.to_bytes(4, "little") + np.array([total, square]).tobytes()
    with pytest.raises(BadArrays, match=text):
        moments_from_bytes(data, 1)


def test_a_product_larger_than_its_columns_allow_is_refused():
    data = (20).to_bytes(4, "little") + np.array([0, 0, 1.0, 2.0, 1.0]).tobytes()
    with pytest.raises(BadArrays, match="larger than its columns"):
        moments_from_bytes(data, 2)


def test_a_map_travels_as_32_bit_arrays():
    ours = fit([rows(1)], 3)
    layout = feature_layout(5, 3)
    assert layout_of(ours.arrays()) == layout
    data = pack(ours.arrays(), layout, Scheme(32), np.random.default_rng())
    back = feature_map(unpack(data, layout, Scheme(32)))
    assert np.array_equal(back.apply(rows(1)), ours.apply(rows(1)))


def test_rows_of_other_columns_are_not_mapped():
    with pytest.raises(BadArrays, match="was agreed"):
        fit([rows(1)], 3).apply(rows(1, d=4))
    with pytest.raises(BadArrays, match="NaN"):
        fit([rows(1)], 3).apply(np.full((1, 5), np.nan))


def test_nothing_is_finished_without_rows_or_for_too_many_components():
    with pytest.raises(BadArrays, match="0 rows"):
        finish(init(3), 2)
    with pytest.raises(BadArrays, match="6 components"):
        finish(add(init(5), measure(rows(0))), 6)
    with pytest.raises(BadArrays, match="columns"):
        add(init(3), measure(rows(0)))


def classes_and_rows(seed: int, classes: int = 2, n: int = 480) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose classes differ where they vary least, behind their one-hot classes; and those."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    X = rng.normal(size=(n, 8)) * [5, 5, 5, 5, 5, 1, 1, 1]
    X[:, :5] += rng.normal(size=(n, 1)) * 5
    X[:, 5] += 1.5 * (y == 0)
    X[:, 6] += 1.5 * (y == 1)
    return np.concatenate([np.eye(classes)[y], X], axis=1), y


@pytest.mark.parametrize("classes", [2, 3])
def test_with_classes_told_the_first_components_tell_them_apart(classes):
    from sklearn.linear_model import LogisticRegression

    X, y = classes_and_rows(0, classes)
    pooled = init(X.shape[1])
    for part in np.array_split(X, 4):
        pooled = add(pooled, measure(part, classes))
    told, plain = finish(pooled, 4, classes), fit([X[:, classes:]], classes - 1)
    z = told.apply(X)
    first, blind = z[:, : classes - 1], plain.apply(X[:, classes:])
    scores = [LogisticRegression().fit(part, y).score(part, y) for part in (first, blind)]
    assert scores[0] > scores[1] + 0.05
    assert z.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-5)
    assert z.std(axis=0) == pytest.approx(np.ones(4), abs=1e-5)


def test_the_class_columns_themselves_weigh_nothing():
    X, _ = classes_and_rows(1)
    pooled = add(init(X.shape[1]), measure(X, 2))
    found = finish(pooled, 3, 2)
    hidden = X.copy()
    hidden[:, :2] = 0.0
    np.testing.assert_array_equal(found.apply(X), found.apply(hidden))
    with pytest.raises(BadArrays, match="1 to 8 are possible"):
        finish(pooled, 9, 2)


def test_a_few_rows_of_a_class_are_never_summed_by_class():
    X, y = classes_and_rows(2)
    some = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:3]])
    with pytest.raises(BadArrays, match="too few rows of a class: sums by class take none or 20"):
        measure(X[some], 2)
    assert measure(X[y == 0], 2).count == (y == 0).sum()
    assert measure(X[some]).count == len(some)


def test_forged_sums_that_cancel_still_come_to_a_map():
    products = np.array([[100.0, -100.0], [-100.0, 100.0]])[np.triu_indices(2)]
    forged = Moments(20, np.array([20.0, 20.0]), products)
    pooled = add(init(2), moments_from_bytes(moments_to_bytes(forged), 2))
    assert np.isfinite(finish(pooled, 1).matrix).all()


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 30.5), (0, 5.0), (0, -20.0), (1, 1e6), (2, 5.0)],
    ids=["half a row", "a few rows", "fewer than none", "more than all", "sums beside the classes"],
)
def test_sums_by_class_are_counts_that_add_up(at, value):
    X, _ = classes_and_rows(3)
    honest = measure(X, 2)
    data = moments_to_bytes(honest)
    assert moments_from_bytes(data, X.shape[1], 2).count == honest.count
    sums = honest.sum.copy()
    sums[at] = value
    with pytest.raises(BadArrays):
        moments_from_bytes(
            moments_to_bytes(Moments(honest.count, sums, honest.product)), X.shape[1], 2
        )
