import pytest
from msgspec.structs import replace

from proto.adapter import Adapter, Target
from proto.ansatz import default_classifier
from proto.circuit import classifier_layout
from proto.errors import RemoteError
from proto.hybrid import Hybrid, teacher_layout
from proto.models import check_model, circuit_in, classes_of, kind_of, model_layout, summed_columns

READER = Adapter(
    base=bytes(32),
    blocks=6,
    rank=8,
    alpha=16.0,
    targets=(Target("q", 576, 576), Target("v", 576, 192)),
    answers=(" no", " yes"),
)
CIRCUIT = default_classifier()
HYBRID = Hybrid(circuit=CIRCUIT, reader=READER, sketch=64, teacher="fleet", share=0.5, warmth=2.0)


def test_of_a_hybrid_the_circuit_is_trained_and_sent():
    assert model_layout(HYBRID) == classifier_layout(CIRCUIT)
    assert (kind_of(HYBRID), classes_of(HYBRID)) == ("hybrid", 2)
    assert circuit_in(HYBRID) == CIRCUIT
    assert circuit_in(READER) is None


def test_a_text_counts_as_many_columns_as_its_sketch():
    assert summed_columns(HYBRID, 3) == 67
    assert summed_columns(CIRCUIT, 3) == 3


def test_the_fleets_teacher_has_all_four_arrays_whoever_trained_which():
    layout = dict(teacher_layout(HYBRID))
    assert len(layout) == 4
    assert sorted(layout) == list(layout)
    both = replace(HYBRID, reader=replace(READER, share="ab"))
    assert dict(teacher_layout(both)) == layout
    assert teacher_layout(replace(HYBRID, teacher="own")) == ()


@pytest.mark.parametrize(
    ("hybrid", "said"),
    [
        (replace(HYBRID, reader=replace(READER, answers=(" a", " b", " c"))), "3 answers for 2"),
        (replace(HYBRID, teacher="none"), "a share of 0.5 for no teacher"),
        (replace(HYBRID, reader=replace(READER, prompt="no slot")), "prompt"),
    ],
)
def test_a_hybrid_that_makes_no_sense_is_refused(hybrid, said):
    check_model(HYBRID)
    with pytest.raises(RemoteError, match=said):
        check_model(hybrid)
