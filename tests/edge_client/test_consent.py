"""A box's owner decides what it takes part in."""

import pytest
from msgspec.structs import replace

from coordinator.taskfile import Data, TaskFile, Train, task_of
from edge_client.config import Policy
from edge_client.consent import objection_to_offer, objection_to_task
from proto.messages import EVALUATE, MOMENTS, TRAIN, BlobRef, Offer

TASK = task_of(
    TaskFile(
        job="job",
        data=Data(classes=("no", "yes"), columns=("a", "b", "c"), components=3),
        training=Train(steps=10),
    ),
    "fleet",
    1,
)
REF = BlobRef(digest=bytes(32), address=bytes(16), size=1000)
OFFER = Offer(
    job="job",
    round=1,
    turn=1,
    kind=TRAIN,
    task=bytes(16),
    key=bytes(32),
    model=REF,
    features=REF,
    inline=b"",
    steps=10,
    seconds=60,
    seed=0,
)


def test_the_default_policy_takes_an_ordinary_task_and_its_offers():
    assert objection_to_task(TASK, Policy()) == ""
    for kind in (MOMENTS, TRAIN, EVALUATE):
        assert objection_to_offer(replace(OFFER, kind=kind), Policy()) == ""


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (Policy(kinds=()), "allows no task of the kind circuit"),
        (Policy(max_qubits=2), "3 qubits; this box's policy allows 2"),
        (Policy(max_steps=9), "10 steps a round; this box's policy allows 9"),
        (Policy(moments=False), "sums over the rows, which this box's policy keeps back"),
    ],
)
def test_a_task_beyond_the_policy_is_objected_to_with_the_number(policy, reason):
    assert reason in objection_to_task(TASK, policy)


def test_a_task_that_needs_no_sums_is_fine_for_a_box_that_keeps_them_back():
    plain = replace(TASK, data=replace(TASK.data, components=0))
    assert objection_to_task(plain, Policy(moments=False)) == ""


@pytest.mark.parametrize(
    ("changes", "policy", "reason"),
    [
        ({"steps": 11}, Policy(max_steps=10), "11 steps; this box's policy allows 10"),
        ({"seconds": 61}, Policy(max_seconds=60), "61 s; this box's policy allows 60"),
        ({"kind": MOMENTS}, Policy(moments=False), "keeps sums over its rows back"),
        ({}, Policy(max_model_bytes=1999), "2000 bytes; this box's policy allows 1999"),
    ],
)
def test_an_offer_that_asks_for_more_than_its_task_did_is_objected_to(changes, policy, reason):
    assert reason in objection_to_offer(replace(OFFER, **changes), policy)


def test_what_is_exactly_allowed_is_taken():
    policy = Policy(max_steps=10, max_seconds=60, max_model_bytes=2000, max_qubits=3)
    assert objection_to_task(TASK, policy) == objection_to_offer(OFFER, policy) == ""
