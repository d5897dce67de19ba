import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantization.arrays import BadArrays, layout_of, size
from quantization.pack import (
    SPARSE,
    bound,
    form_of,
    pack,
    packed_size,
    unpack,
    unpack_all,
    unpack_vector,
)
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
        (b"", "0 bytes; the layout takes 26"),
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
schemes = st.builds(
    Scheme, st.sampled_from([2, 4, 8, 32]), st.integers(1, 70), st.sampled_from([1.0, 0.3, 0.01])
)


@given(layouts, schemes, st.data())
def test_any_bytes_give_finite_arrays_or_bad_arrays(layout, scheme, data):
    length = data.draw(st.integers(0, 40) | st.just(packed_size(layout, scheme)))
    raw = data.draw(st.binary(min_size=length, max_size=length))
    if raw and data.draw(st.booleans()):
        raw = bytes([scheme.bits + (SPARSE if scheme.sparse else 0)]) + raw[1:]
    try:
        arrays = unpack(raw, layout, scheme)
    except BadArrays:
        return
    assert layout_of(arrays) == layout
    assert all(np.isfinite(array).all() for array in arrays.values())


@given(layouts, schemes, st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_many_are_unpacked_together_as_each_alone_and_none_exceeds_its_bound(
    layout, scheme, seed, many
):
    rng = np.random.default_rng(seed)
    arrays = [
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in layout}
        for _ in range(many)
    ]
    datas = [pack(one, layout, scheme, rng) for one in arrays]
    together = unpack_all(datas, layout, scheme)
    assert together.shape == (many, size(layout))
    for data, row in zip(datas, together, strict=True):
        assert np.array_equal(row, unpack_vector(data, layout, scheme))
        assert np.abs(row).max(initial=0.0) <= bound(data, form_of(layout, scheme))


@given(st.binary(min_size=25, max_size=26), st.sampled_from([None, 8]))
def test_what_is_refused_alone_is_refused_among_others_and_by_its_bound(raw, tag):
    data = raw if tag is None else bytes([tag]) + raw[1:]
    told = []
    for read in (
        lambda: unpack_vector(data, LAYOUT, EIGHT),
        lambda: unpack_all([packed(), data], LAYOUT, EIGHT),
        lambda: bound(data, form_of(LAYOUT, EIGHT)),
    ):
        try:
            read()
        except BadArrays as error:
            told.append(str(error))
        else:
            told.append("")
    assert len(set(told)) == 1


@given(layouts, schemes, st.integers(0, 2**32 - 1))
def test_every_layout_and_scheme_packs_to_the_foretold_size_at_most(layout, scheme, seed):
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in layout}
    data = pack(arrays, layout, scheme, rng)
    assert len(data) <= packed_size(layout, scheme)
    assert scheme.sparse or len(data) == packed_size(layout, scheme)
    assert sum(array.size for array in unpack(data, layout, scheme).values()) == size(layout)


WIDE = (("w", (5000,)),)


def wide(seed: int) -> dict[str, np.ndarray]:
    return {"w": np.random.default_rng(seed).standard_t(3, 5000).astype(np.float32)}


@pytest.mark.parametrize(("bits", "share"), [(8, 0.266), (4, 0.141), (2, 0.079)])
def test_fewer_bits_take_their_share_of_the_bytes_of_float32(bits, share):
    data = pack(wide(0), WIDE, Scheme(bits, 64), np.random.default_rng(0))
    assert len(data) == pytest.approx(share * 20_000, rel=0.01)


@pytest.mark.parametrize("bits", [2, 4, 8, 32])
def test_of_a_sparse_update_the_largest_numbers_arrive_at_their_places(bits):
    scheme, vector = Scheme(bits, 16, 0.1), wide(1)["w"]
    data = pack({"w": vector}, WIDE, scheme, np.random.default_rng(2))
    back = unpack_vector(data, WIDE, scheme)
    largest = np.argsort(-np.abs(vector))[:500]
    others = np.setdiff1d(np.arange(5000), largest)
    assert not back[others].any()
    if bits == 32:
        assert np.array_equal(back[largest], vector[largest])
    assert np.abs(back - vector).max() <= np.abs(vector).max()


def test_a_place_takes_hardly_more_than_chance_allows():
    scheme = Scheme(32, 64, 0.1)
    data = pack(wide(3), WIDE, scheme, np.random.default_rng(0))
    places_bits = 8 * (len(data) - 1 - 4 * 500)
    entropy = -5000 * (0.1 * np.log2(0.1) + 0.9 * np.log2(0.9))
    assert places_bits < 1.03 * entropy


@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 8, 32]), st.sampled_from([0.01, 0.1, 0.5]))
def test_what_a_sparse_update_leaves_behind_is_less_than_what_there_was(seed, bits, keep):
    """The contraction that error feedback needs to stay bounded (Stich et al. 2018)."""
    vector = np.random.default_rng(seed).normal(size=1000).astype(np.float32)
    layout, scheme = (("w", (1000,)),), Scheme(bits, 64, keep)
    data = pack({"w": vector}, layout, scheme, np.random.default_rng(seed))
    left = vector - unpack_vector(data, layout, scheme)
    assert left @ left < (1 - keep / 2) * (vector @ vector)


def sparse(change) -> bytes:
    scheme = Scheme(32, 64, 0.5)
    data = bytearray(pack({"w": np.ones(8, np.float32)}, (("w", (8,)),), scheme, None))
    change(data)
    return bytes(data)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.__setitem__(0, 32), "tag 32; 96 was agreed"),
        (lambda d: d.pop(), "places"),
        (lambda d: d.extend(bytes(9)), "bytes"),
        (lambda d: d.__setitem__(slice(17, None), b"\0"), "places"),
        (lambda d: d.__setitem__(slice(17, None), b"\xff"), "places"),
        (lambda d: d.__delitem__(slice(9, None)), "4 numbers take 17"),
    ],
)
def test_places_that_pack_would_not_make_are_refused(change, text):
    with pytest.raises(BadArrays, match=text):
        unpack(sparse(change), (("w", (8,)),), Scheme(32, 64, 0.5))
