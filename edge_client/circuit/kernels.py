"""Compiled loops of the numba engine, by `compiled.py` alone. Importing this needs numba.

States are worked on in tiles of some columns, so that a tile stays in the processor's cache while
all gates pass over it. A tile is two flat planes, real and imaginary parts, row after row of
`width` columns; the imaginary one is empty where the program is real. Compiling takes seconds,
once: the machine code is kept on disk.
"""

# numba has no types that mypy knows; what the arguments are is said in `compiled.Tables`.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"
# ruff: noqa: ANN001, ANN201, ANN202, PLR0917, PLR2004

import numpy as np
from numba import njit

SHUFFLE, H, RX, RY, RZ = 0, 1, 2, 3, 4

LOOSE = {"reassoc", "contract", "nsz", "arcp"}
"""Liberties with rounding that let sums be vectorised; NaN stays NaN."""

compiled = njit(cache=True, fastmath=LOOSE, nogil=True)


@compiled
def _mix(plane, run, a, b, c, d):
    """The real matrix ((a, b), (c, d)) on rows `run` apart."""
    for base in range(0, plane.size, 2 * run):
        # Slices of their own: an index that may be negative would not be vectorised.
        low, high = plane[base : base + run], plane[base + run : base + 2 * run]
        for i in range(run):
            p, q = low[i], high[i]
            low[i] = a * p + b * q
            high[i] = c * p + d * q


@compiled
def _rx(re, im, run, c, s):
    for base in range(0, re.size, 2 * run):
        re0, re1 = re[base : base + run], re[base + run : base + 2 * run]
        im0, im1 = im[base : base + run], im[base + run : base + 2 * run]
        for i in range(run):
            a, b, p, q = re0[i], im0[i], re1[i], im1[i]
            re0[i], im0[i] = c * a + s * q, c * b - s * p
            re1[i], im1[i] = c * p + s * b, c * q - s * a


@compiled
def _rz(re, im, run, c, s):
    for base in range(0, re.size, run):
        re0, im0 = re[base : base + run], im[base : base + run]
        for i in range(run):
            a, b = re0[i], im0[i]
            re0[i], im0[i] = c * a + s * b, c * b - s * a
        s = -s


@compiled
def _each(code, re, im, run, cosines, sines):
    """A turn of its own for each column."""
    width = cosines.size
    for base in range(0, re.size, 2 * run):
        for row in range(base, base + run, width):
            re0, re1 = re[row : row + width], re[row + run : row + run + width]
            im0, im1 = im[row : row + width], im[row + run : row + run + width]
            for k in range(width):
                c, s, a, b, p, q = cosines[k], sines[k], re0[k], im0[k], re1[k], im1[k]
                if code == RX:
                    re0[k], im0[k] = c * a + s * q, c * b - s * p
                    re1[k], im1[k] = c * p + s * b, c * q - s * a
                elif code == RY:
                    re0[k], im0[k] = c * a - s * p, c * b - s * q
                    re1[k], im1[k] = c * p + s * a, c * q + s * b
                else:
                    re0[k], im0[k] = c * a + s * b, c * b - s * a
                    re1[k], im1[k] = c * p - s * q, c * q + s * p


@compiled
def _turn(code, re, im, run, c, s):
    """The same turn for all columns."""
    if code == RX:
        _rx(re, im, run, c, s)
    elif code == RZ:
        _rz(re, im, run, c, s)
    elif code == RY:
        _mix(re, run, c, -s, s, c)
        _mix(im, run, c, -s, s, c)
    else:
        _mix(re, run, c, c, c, -c)
        _mix(im, run, c, c, c, -c)


@compiled
def _shuffle(plane, spare, order, width):
    for row in range(order.size if plane.size else 0):
        start = order[row] * width
        spare[row * width : (row + 1) * width] = plane[start : start + width]


@compiled
def _weigh(re, im, factors_re, factors_im, width):
    for row in range(factors_re.size):
        c, s = factors_re[row], factors_im[row]
        for i in range(row * width, (row + 1) * width):
            if im.size == 0:
                re[i] *= c
            else:
                re[i], im[i] = c * re[i] - s * im[i], c * im[i] + s * re[i]


@compiled
def _load(flat, first, width, re, im, offset):
    """Columns from `first` on, into the tile's columns from `offset` on."""
    across, parts = re.size // flat.shape[0], 2 if im.size else 1
    for row in range(flat.shape[0]):
        for k in range(width):
            re[row * across + offset + k] = flat[row, parts * (first + k)]
            if parts == 2:
                im[row * across + offset + k] = flat[row, parts * (first + k) + 1]


@compiled
def _store(flat, first, width, re, im):
    parts = 2 if im.size else 1
    for row in range(flat.shape[0]):
        for k in range(width):
            flat[row, parts * (first + k)] = re[row * width + k]
            if parts == 2:
                flat[row, parts * (first + k) + 1] = im[row * width + k]


@compiled
def _angles(table, slot, first, width, repeats, sign):
    """A row's part for the tile's columns, for kets and, behind them, bras."""
    out = np.empty(width * repeats)
    for k in range(out.size):
        out[k] = sign * table[slot, first + k % width]
    return out


@compiled
def forward(tables, angles, flat, parts, tile):
    """Run the program on `flat` in place."""
    codes, wires, slots, each, orders, _, factors_re, factors_im, plain = tables
    cosines, sines, each_cosines, each_sines = angles
    size, columns = flat.shape[0], flat.shape[1] // parts
    for first in range(0, columns, tile):
        width = min(tile, columns - first)
        re, spare = np.empty(size * width), np.empty(size * width)
        im, other = np.empty(size * width * (parts - 1)), np.empty(size * width * (parts - 1))
        _load(flat, first, width, re, im, 0)
        for n in range(codes.size):
            if codes[n] == SHUFFLE:
                _shuffle(re, spare, orders[slots[n]], width)
                _shuffle(im, other, orders[slots[n]], width)
                re, spare, im, other = spare, re, other, im
                if not plain[slots[n]]:
                    _weigh(re, im, factors_re[slots[n]], factors_im[slots[n]], width)
            elif each[n]:
                c = _angles(each_cosines, slots[n], first, width, 1, 1.0)
                s = _angles(each_sines, slots[n], first, width, 1, 1.0)
                _each(codes[n], re, im, width << wires[n], c, s)
            else:
                _turn(codes[n], re, im, width << wires[n], cosines[n], sines[n])
        _store(flat, first, width, re, im)


@compiled
def _slope(code, re, im, run, width):
    """2 Re <bra|G|ket> over a tile whose rows are `width` kets, then as many bras."""
    total = 0.0
    for base in range(0, re.size, 2 * run):
        for row in range(base, base + run, 2 * width):
            low, high = row + width, row + run + width
            if code == RY:
                total += _dot(re[high:], re[row:], width) - _dot(re[low:], re[row + run :], width)
                if im.size:
                    total += _dot(im[high:], im[row:], width)
                    total -= _dot(im[low:], im[row + run :], width)
            elif code == RZ:
                total += _cross(re, im, low, row, width) - _cross(re, im, high, row + run, width)
            else:
                total += _cross(re, im, low, row + run, width) + _cross(re, im, high, row, width)
    return total


@compiled
def _dot(bra, ket, width):
    total = 0.0
    for k in range(width):
        total += bra[k] * ket[k]
    return total


@compiled
def _cross(re, im, bra, ket, width):
    """Im <bra|ket> of two rows."""
    return _dot(re[bra:], im[ket:], width) - _dot(im[bra:], re[ket:], width)


@compiled
def backward(tables, angles, weights, both, parts, tile):
    """(weights,) slopes: ket and bra (`both`) walk back through the program, tile by tile.

    `weights`: for each gate the weight it reads or -1, the weight's scale, how many there are.
    """
    codes, wires, slots, each, _, inverses, factors_re, factors_im, plain = tables
    cosines, sines, each_cosines, each_sines = angles
    reads, scales, count = weights
    out = np.zeros(count)
    size, columns = both.shape[1], both.shape[2] // parts
    for first in range(0, columns, tile):
        width = min(tile, columns - first)
        across = 2 * width
        re, spare = np.empty(size * across), np.empty(size * across)
        im, other = np.empty(size * across * (parts - 1)), np.empty(size * across * (parts - 1))
        _load(both[0], first, width, re, im, 0)
        _load(both[1], first, width, re, im, width)
        for n in range(codes.size - 1, -1, -1):
            run = across << wires[n]
            if reads[n] >= 0:
                out[reads[n]] += scales[n] * _slope(codes[n], re, im, run, width)
            if codes[n] == SHUFFLE:
                if not plain[slots[n]]:
                    _weigh(re, im, factors_re[slots[n]], -factors_im[slots[n]], across)
                _shuffle(re, spare, inverses[slots[n]], across)
                _shuffle(im, other, inverses[slots[n]], across)
                re, spare, im, other = spare, re, other, im
            elif each[n]:
                c = _angles(each_cosines, slots[n], first, width, 2, 1.0)
                s = _angles(each_sines, slots[n], first, width, 2, -1.0)
                _each(codes[n], re, im, run, c, s)
            else:
                _turn(codes[n], re, im, run, cosines[n], -sines[n])
    return out
