"""Which frames of an epoch were taken already: a sliding window as a pure value (RFC 6479)."""

from msgspec import Struct

WIDTH = 64
_ALL = 2**WIDTH - 1


class Window(Struct, frozen=True, gc=False):
    """`highest` sequence taken (-1: none) and a bit for each of the 64 up to it, lowest bit it."""

    highest: int = -1
    taken: int = 0


def admit(window: Window, sequence: int) -> Window | None:
    """The window with `sequence` taken, or None when it was taken before or is too old to tell."""
    if sequence == window.highest + 1:  # as nearly all come
        return Window(sequence, (window.taken << 1 | 1) & _ALL)
    if sequence > window.highest:
        shift = sequence - window.highest
        taken = ((window.taken << shift) | 1) & _ALL if shift < WIDTH else 1
        return Window(sequence, taken)
    age = window.highest - sequence
    if age >= WIDTH or window.taken >> age & 1:
        return None
    return Window(window.highest, window.taken | 1 << age)
