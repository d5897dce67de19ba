import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from quantization.arrays import (
    MAX_ARRAYS,
    MAX_PARAMETERS,
    BadArrays,
    apply_delta,
    delta,
    draw,
    flatten,
    layout_of,
    size,
    unflatten,
)

LAYOUT = (("angles", (16,)), ("head", (1, 4)), ("bias", (1,)))

finite = st.floats(-(2.0**100), 2.0**100, width=32)
models = st.dictionaries(
    st.text(max_size=8),
    arrays(np.float32, array_shapes(min_dims=0, max_dims=3, max_side=4), elements=finite),
    max_size=4,
)


def example() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in LAYOUT}


@given(models)
def test_unflatten_gives_back_what_flatten_took(model):
    layout = layout_of(model)
    back = unflatten(flatten(model, layout), layout)
    assert layout_of(back) == layout
    assert all(np.array_equal(back[name], model[name]) for name in model)


def test_a_fresh_model_is_drawn_within_the_spread_and_by_the_rng_alone():
    one, two = (draw(LAYOUT, 0.5, np.random.default_rng(3)) for _ in range(2))
    assert layout_of(one) == LAYOUT
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert 0.3 < np.abs(flatten(one, LAYOUT)).max() <= 0.5


def test_the_vector_follows_the_layout_and_not_the_mapping():
    model = example()
    backwards = dict(reversed(model.items()))
    assert np.array_equal(flatten(backwards, LAYOUT), flatten(model, LAYOUT))
    assert flatten(model, LAYOUT)[16:20].tolist() == model["head"].ravel().tolist()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("bias", np.array([np.nan], np.float32), "'bias' holds NaN"),
        ("bias", np.array([np.inf], np.float32), "'bias' holds NaN or infinity"),
        ("head", np.zeros((4, 1), np.float32), r"'head' has shape \(4, 1\); \(1, 4\)"),
        ("head", np.zeros((1, 4)), "'head' holds float64"),
        ("extra", np.zeros(1, np.float32), "'extra' is not known"),
    ],
)
def test_a_faulty_array_is_refused_by_its_name(name, value, text):
    with pytest.raises(BadArrays, match=text):
        flatten({**example(), name: value}, LAYOUT)


def test_a_missing_array_is_refused_by_its_name():
    with pytest.raises(BadArrays, match="'head' is missing"):
        flatten({k: v for k, v in example().items() if k != "head"}, LAYOUT)


def test_a_layout_beyond_a_cap_is_refused_before_any_memory_is_taken():
    with pytest.raises(BadArrays, match="parameters; at most"):
        size((("w", (MAX_PARAMETERS + 1,)),))
    with pytest.raises(BadArrays, match="arrays; at most"):
        size(tuple((str(i), ()) for i in range(MAX_ARRAYS + 1)))
    with pytest.raises(BadArrays, match="same name"):
        size((("w", (1,)), ("w", (1,))))
    with pytest.raises(BadArrays, match="negative"):
        size((("w", (-1,)),))


def test_a_delta_leads_from_the_old_model_to_the_new_one():
    old = {"w": np.array([1.0, -2.0, 0.5], np.float32)}
    new = {"w": np.array([1.5, -2.0, 8.0], np.float32)}
    assert np.array_equal(apply_delta(old, delta(new, old))["w"], new["w"])


def test_angles_are_subtracted_as_they_are_and_never_wrapped():
    change = delta({"angles": np.array([7.0], np.float32)}, {"angles": np.array([0.5], np.float32)})
    assert change["angles"].tolist() == [6.5]


def test_a_delta_of_unlike_models_is_refused():
    old = {"w": np.zeros(2, np.float32)}
    with pytest.raises(BadArrays, match="'w' has shapes"):
        delta({"w": np.zeros(3, np.float32)}, old)
    with pytest.raises(BadArrays, match="'w' is missing"):
        delta({"v": np.zeros(2, np.float32)}, old)
    with pytest.raises(BadArrays, match="'v' is not known"):
        delta({**old, "v": np.zeros(2, np.float32)}, old)


def test_a_delta_that_overflows_is_refused():
    far = {"w": np.array([3e38], np.float32)}
    with pytest.raises(BadArrays, match="infinity"):
        delta(far, {"w": np.array([-3e38], np.float32)})
