import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.topic_tree import TopicTree
from firmware_sim.traffic import topic_class

LEVEL = st.sampled_from(["a", "b", "", "$s"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
PATTERN = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(st.sampled_from(["a", "b", "", "$s", "+"]), max_size=4),
    st.sampled_from([["#"], ["a"], ["+"]]),
)


def matches(pattern: str, topic: str) -> bool:
    """The rules of MQTT 5, section 4.7, as a regular expression: slow and plain."""
    if topic.startswith("$") and pattern[0] in "+#":
        return False
    escaped = re.escape(pattern).replace(r"\+", "[^/]*")
    if pattern == "#":
        escaped = ".*"
    elif pattern.endswith("/#"):
        escaped = escaped[: -len("/\\#")] + "(/.*)?"
    return re.fullmatch(escaped, topic) is not None


@given(PATTERN, TOPIC)
def test_subscriptions_are_found_as_the_standard_says(pattern: str, topic: str) -> None:
    tree: TopicTree[str] = TopicTree()
    tree.put(pattern, "key", "value")
    assert list(tree.for_topic(topic)) == ["value"] * matches(pattern, topic)


@given(PATTERN, st.sets(TOPIC, max_size=8))
def test_topics_are_found_as_the_standard_says(pattern: str, topics: set[str]) -> None:
    tree: TopicTree[str] = TopicTree()
    for topic in topics:
        tree.put(topic, topic, topic)
    assert set(tree.for_pattern(pattern)) == {t for t in topics if matches(pattern, t)}


def test_a_value_can_be_replaced_and_taken_away() -> None:
    tree: TopicTree[int] = TopicTree()
    tree.put("a/b", "x", 1)
    tree.put("a/b", "x", 2)
    tree.put("a/b", "y", 3)
    assert list(tree.for_topic("a/b")) == [2, 3]
    tree.take("a/b", "x")
    tree.take("a/b", "absent")
    tree.take("no/such", "x")
    assert list(tree.for_topic("a/b")) == [3]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("qf/v1/f/up/box/m", "up"),
        ("qf/v1/f/dev/box/state", "dev/state"),
        ("qf/v1/f/dev/box/in/k", "dev/in"),
        ("qf/v1/f/coord/state", "coord"),
        ("qf/v1/f/blob/abc/1", "blob"),
        ("elsewhere/x", "other"),
    ],
)
def test_topics_fall_into_classes(topic: str, expected: str) -> None:
    assert topic_class(topic) == expected
