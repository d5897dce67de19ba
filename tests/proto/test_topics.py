"""Names on the broker: made only from ids, and read back to the same levels."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.errors import LocalError, RemoteError
from proto.topics import Topics, base32, checked, from_base32
from tests.proto.cases import LONGEST, SHORT

FLEET = Topics("fleet")
BAD_IDS = [
    "",
    "UPPER",
    "a/b",
    "+",
    "#",
    "a b",
    "box\n",
    "x" * 33,
    "bo\N{LATIN SMALL LETTER E WITH ACUTE}",
]


def test_the_names_are_those_of_the_design():
    address = base32(SHORT)
    assert FLEET.coordinator == "qf/v1/fleet/coord/state"
    assert FLEET.state("b") == "qf/v1/fleet/dev/b/state"
    assert FLEET.to_box("b", "k") == "qf/v1/fleet/dev/b/in/k"
    assert FLEET.from_box("b", "m") == "qf/v1/fleet/up/b/m"
    assert FLEET.job("j", "task") == "qf/v1/fleet/bc/j/task"
    assert FLEET.blob(SHORT, "m") == f"qf/v1/fleet/blob/{address}/m"
    assert FLEET.join("t", "ask") == "qf/v1/fleet/join/t/ask"


def test_every_name_parses_to_its_own_levels_and_has_at_most_seven():
    longest = Topics(LONGEST)
    names = [
        longest.coordinator,
        longest.state(LONGEST),
        longest.to_box(LONGEST, "m"),
        longest.from_box(LONGEST, "m"),
        longest.job(LONGEST, "receipt"),
        longest.blob(SHORT, "8191"),
        longest.join(LONGEST, "answer"),
    ]
    for name in names:
        assert name.count("/") < 7
        assert "/".join((longest.root, *longest.parse(name))) == name


@pytest.mark.parametrize("bad", BAD_IDS)
def test_nothing_but_an_id_becomes_part_of_a_name(bad):
    makers = [
        lambda: Topics(bad),
        lambda: FLEET.state(bad),
        lambda: FLEET.to_box(bad, "m"),
        lambda: FLEET.from_box(bad, "m"),
        lambda: FLEET.job(bad, "task"),
        lambda: FLEET.join(bad, "ask"),
        lambda: checked(bad),
    ]
    for make in makers:
        with pytest.raises(LocalError, match="is no id"):
            make()


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "qf/v1/fleet",
        "qf/v1/fleets/coord/state",
        "qf/v2/fleet/coord/state",
        "/qf/v1/fleet/coord/state",
        "$SYS/qf/v1/fleet/x",
        "qf/v1/fleet/" + "x" * 121,
    ],
)
def test_a_topic_outside_the_fleet_is_refused(topic):
    with pytest.raises(RemoteError, match="outside this fleet"):
        FLEET.parse(topic)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=16, max_size=16))
def test_an_address_is_26_characters_that_read_back(address):
    text = base32(address)
    assert len(text) == 26
    assert from_base32(text) == address


@pytest.mark.parametrize(
    "bad", ["", "a" * 25, "a" * 27, "A" * 26, "1" * 26, "a" * 25 + "\n", "é" * 26]
)
def test_what_is_no_address_is_refused(bad):
    with pytest.raises(RemoteError, match="not a blob's address"):
        from_base32(bad)
