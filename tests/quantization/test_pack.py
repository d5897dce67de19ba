import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantization.arrays import BadArrays, layout_of, size
from quantization.pack import pack, packed_size, unpack
from quantization.scheme import Scheme

LAYOUT = (("angles", (16,)), ("head", (1, 4)), ("bias", (1,)))
EIGHT = Scheme(8)
FULL = Scheme(32)


def example(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in LAYOUT}


def packed(scheme: Scheme = EIGHT) -> bytes:
    return pack(example(), LAYOUT, scheme, np.random.default_rng(1))


def test_21_numbers_at_8_bits_take_26_bytes():
    assert len(packed()) == packed_size(LAYOUT, EIGHT) == 26


def test_at_32_bits_the_arrays_come_back_exactly():
    back = unpack(packed(FULL), LAYOUT, FULL)
    assert all(np.array_equal(back[name], array) for name, array in example().items())


def test_at_8_bits_the_arrays_come_back_within_one_step():
    back = unpack(packed(), LAYOUT, EIGHT)
    peak = max(np.abs(array).max() for array in example().values())
    assert layout_of(back) == LAYOUT
    for name, array in example().items():
        assert np.abs(back[name] - array).max() <= peak / 127 * 1.001


def test_the_bytes_are_the_tag_the_scales_and_the_codes():
    layout = (("w", (3,)),)
    data = pack({"w": np.array([127, -2, 0], np.float32)}, layout, EIGHT, np.random.default_rng())
    assert data == bytes([8]) + np.float32(1).tobytes() + bytes([127, 256 - 2, 0])


def test_an_empty_model_is_the_tag_alone():
    assert pack({}, (), EIGHT, np.random.default_rng()) == bytes([8])
    assert unpack(bytes([8]), (), EIGHT) == {}


def scale(value: float) -> bytes:
    return bytes([8]) + np.float32(value).tobytes() + bytes(21)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "0 bytes"),
        (packed()[:-1], "25 bytes; the layout takes 26"),
        (packed() + b"\0", "27 bytes"),
        (bytes([32]) + packed()[1:], "tag 32; 8 was agreed"),
        (scale(float("nan")), "scale"),
        (scale(float("inf")), "scale"),
        (scale(-1.0), "scale"),
        (scale(-0.0), "scale"),
        (scale(3e38), "scale"),
        (packed()[:-1] + bytes([128]), "-128"),
    ],
)
def test_bytes_that_pack_would_not_make_are_refused(data, text):
    with pytest.raises(BadArrays, match=text):
        unpack(data, LAYOUT, EIGHT)


def test_an_infinite_number_at_32_bits_is_refused():
    data = packed(FULL)[:-4] + np.float32(np.inf).tobytes()
    with pytest.raises(BadArrays, match="infinity"):
        unpack(data, LAYOUT, FULL)


layouts = st.lists(st.lists(st.integers(0, 5), max_size=3), max_size=4).map(
    lambda shapes: tuple((str(i), tuple(shape)) for i, shape in enumerate(shapes))
)
schemes = st.builds(Scheme, st.sampled_from([8, 32]), st.integers(1, 70))


@given(layouts, schemes, st.data())
def test_any_bytes_give_finite_arrays_or_bad_arrays(layout, scheme, data):
    length = data.draw(st.integers(0, 40) | st.just(packed_size(layout, scheme)))
    raw = data.draw(st.binary(min_size=length, max_size=length))
    if raw and data.draw(st.booleans()):
        raw = bytes([scheme.bits]) + raw[1:]
    try:
        arrays = unpack(raw, layout, scheme)
    except BadArrays:
        return
    assert layout_of(arrays) == layout
    assert all(np.isfinite(array).all() for array in arrays.values())


@given(layouts, schemes, st.integers(0, 2**32 - 1))
def test_every_layout_and_scheme_packs_to_the_foretold_size(layout, scheme, seed):
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in layout}
    data = pack(arrays, layout, scheme, rng)
    assert len(data) == packed_size(layout, scheme)
    assert sum(array.size for array in unpack(data, layout, scheme).values()) == size(layout)
