"""The window takes each sequence once, in any order, as far back as it can remember."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proto.replay import WIDTH, Window, admit

near = st.lists(st.integers(0, 200), max_size=120)
far = st.lists(st.integers(0, 300) | st.integers(0, 2**32 - 1), max_size=40)


def taken(sequences: list[int]) -> list[bool]:
    window, results = Window(), []
    for sequence in sequences:
        after = admit(window, sequence)
        results.append(after is not None)
        window = after or window
    return results


def remembered(sequences: list[int]) -> list[bool]:
    """The same by a plain set of everything ever taken."""
    seen: set[int] = set()
    results = []
    for sequence in sequences:
        new = sequence not in seen and sequence > max(seen, default=-1) - WIDTH
        results.append(new)
        if new:
            seen.add(sequence)
    return results


@settings(max_examples=200, deadline=None)
@given(near | far)
def test_the_window_is_a_set_with_a_short_memory(sequences):
    assert taken(sequences) == remembered(sequences)


def test_a_sequence_is_taken_up_to_63_late_and_no_later():
    assert taken([100, 37, 36]) == [True, True, False]
    assert taken([100, 36]) == [True, False]


def test_a_refused_sequence_leaves_the_window_as_it_was():
    window = admit(Window(), 5)
    assert window is not None
    assert admit(window, 5) is None
    assert window == Window(highest=5, taken=1)


def test_a_window_never_grows_beyond_its_width():
    window = Window()
    for sequence in (*range(200), 2**32 - 1):
        window = admit(window, sequence) or window
        assert window.taken < 2**WIDTH
