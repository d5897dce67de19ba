"""An adapter's shapes, and what no box would be asked to train."""

import pytest
from msgspec.structs import replace

from proto.adapter import Target, adapter_layout, check_adapter, frozen_layout
from proto.errors import RemoteError
from proto.models import check_model, classes_of, kind_of, model_layout
from tests.proto.cases import ADAPTER

FROZEN = replace(ADAPTER, share="b", combine="padded")


def test_b_alone_travels_while_a_is_frozen():
    assert adapter_layout(FROZEN) == (("lora_q_b", (6, 8, 576)), ("lora_v_b", (6, 8, 192)))
    assert frozen_layout(FROZEN) == (("lora_q_a", (6, 576, 8)), ("lora_v_a", (6, 576, 8)))


def test_both_travel_where_nothing_is_frozen():
    assert [name for name, _ in adapter_layout(ADAPTER)] == [
        "lora_q_a",
        "lora_q_b",
        "lora_v_a",
        "lora_v_b",
    ]
    assert frozen_layout(ADAPTER) == ()


def test_a_small_box_trains_the_first_columns():
    assert model_layout(FROZEN, 2) == (("lora_q_b", (6, 2, 576)), ("lora_v_b", (6, 2, 192)))
    for rank in (1, 9):
        with pytest.raises(RemoteError, match="2 to 8 is accepted"):
            model_layout(FROZEN, rank)
    with pytest.raises(RemoteError, match="8 to 8 is accepted"):
        model_layout(replace(FROZEN, least_rank=0), 4)


def test_a_kind_has_a_name_and_classes():
    assert (kind_of(ADAPTER), classes_of(ADAPTER)) == ("adapter", 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"targets": (Target("q", 1, 1), Target("q", 1, 1))}, "named twice"),
        ({"answers": (" no", " no")}, "same answer"),
        ({"prompt": "Spam?"}, "no {text}"),
        ({"least_rank": 9}, "above rank 8"),
        ({"share": "b"}, "stacked"),
    ],
)
def test_what_makes_no_sense_is_refused(change, said):
    check_model(ADAPTER)
    with pytest.raises(RemoteError, match=said):
        check_adapter(replace(ADAPTER, **change))
