import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantization.arrays import BadArrays
from quantization.scheme import MAX_BLOCK, Scheme
from quantization.uniform import LEVELS, MAX_SCALE, dequantise, quantise

vectors = arrays(
    np.float32, st.integers(0, 200), elements=st.floats(-(2.0**100), 2.0**100, width=32)
)
sizes = st.integers(1, 70)
seeds = st.integers(0, 2**32 - 1)
widths = st.sampled_from(sorted(LEVELS))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(vectors, sizes, seeds, widths)
def test_the_error_of_each_number_is_below_one_step_of_its_block(vector, block, seed, bits):
    scales, codes = quantise(vector, block, rng(seed), bits)
    error = np.abs(dequantise(scales, codes, block).astype(float) - vector)
    assert (error <= np.repeat(scales.astype(float), block)[: vector.size]).all()


@given(vectors, sizes, seeds)
def test_a_scale_is_the_blocks_peak_over_127_to_five_digits(vector, block, seed):
    scales, _ = quantise(vector, block, rng(seed))
    peaks = [np.abs(vector[i : i + block]).max() for i in range(0, vector.size, block)]
    assert np.allclose(scales, np.array(peaks) / 127, rtol=2**-16, atol=2**-126)


@given(st.integers(-(2**16), 2**16), st.integers(-100, 80), seeds)
def test_numbers_on_a_blocks_levels_come_back_exactly(mantissa, exponent, seed):
    scale = np.ldexp(float(mantissa), exponent)
    levels = (np.arange(-127, 128) * scale).astype(np.float32)
    scales, codes = quantise(levels, 255, rng(seed))
    assert np.array_equal(dequantise(scales, codes, 255), levels)


@pytest.mark.parametrize("bits", LEVELS)
def test_the_mean_over_many_roundings_is_the_number_itself(bits):
    vector = rng(1).normal(size=64).astype(np.float32)
    draws = 20_000
    scales, codes = quantise(np.tile(vector, draws), 64, rng(2), bits)
    mean = dequantise(scales, codes, 64).reshape(draws, 64).astype(float).mean(axis=0)
    # A rounding's standard deviation is at most half a step; 5 sigma over 64 numbers.
    assert np.abs(mean - vector).max() < 5 * 0.5 * scales[0] / np.sqrt(draws)


def test_the_largest_number_of_a_block_is_never_clipped():
    peaks = np.abs(rng(3).normal(size=1000)).astype(np.float32) + np.float32(0.1)
    scales, codes = quantise(peaks, 1, rng(4))
    assert (scales.astype(float) * 127 >= peaks).all()
    assert codes.min() >= 126


def test_a_block_of_zeros_stays_zero_beside_others():
    vector = np.array([0, 0, 0, 0, 1, -1], np.float32)
    scales, codes = quantise(vector, 4, rng())
    assert scales[0] == 0
    assert np.array_equal(dequantise(scales, codes, 4)[:4], vector[:4])


def test_the_smallest_float32_is_rounded_without_bias_too():
    tiny = np.full(2000, 2.0**-127, np.float32)
    scales, codes = quantise(tiny, 1, rng())
    assert set(scales.tolist()) == {2.0**-126}
    assert 850 < int(codes.sum()) < 1150


def test_numbers_too_large_for_a_scale_are_refused():
    with pytest.raises(BadArrays, match="too large"):
        quantise(np.array([MAX_SCALE * 127.1], np.float32), 64, rng())


def test_the_same_rng_rounds_the_same_way():
    vector = rng(5).normal(size=100).astype(np.float32)
    assert np.array_equal(quantise(vector, 64, rng(6))[1], quantise(vector, 64, rng(6))[1])


@pytest.mark.parametrize(
    ("bits", "block", "keep"),
    [(16, 64, 1), (0, 64, 1), (8, 0, 1), (8, MAX_BLOCK + 1, 1), (8, 64, 0), (8, 64, 1.1)],
)
def test_a_scheme_that_does_not_exist_is_refused(bits, block, keep):
    with pytest.raises(ValueError, match="is accepted"):
        Scheme(bits, block, keep)
