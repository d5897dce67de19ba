import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from coordinator.selection.candidates import Candidate, Standing, standings
from coordinator.selection.plan import plan
from coordinator.selection.regulators import RULES, Regulation, regulate
from coordinator.selection.request import Pace, Request
from proto.messages import Metrics

REGULATORS = [rule for rule in RULES if rule != "fixed"]
GOLDEN = {
    "incremental": (10, 15, 20, 30),
    "dynamic-weighted": (10, 12, 15, 20),
    "logarithmic": (17, 19, 20, 23),
    "adaptive": (10, 15, 20, 30),
    "hybrid": (20, 25, 30, 40),
}
"""The paper's own: k = 10, cap 100, r = 1.05, 1.5, 2 and 3; hybrid with a largest rise of 30."""

losses = st.floats(0.0, 1e6)
steps = st.integers(1, 1000)


@pytest.mark.parametrize("rule", REGULATORS)
def test_the_papers_golden_values(rule):
    given = [regulate(Regulation(rule=rule), 10, r, 1.0) for r in (1.05, 1.5, 2.0, 3.0)]
    assert tuple(given) == GOLDEN[rule]


@pytest.mark.parametrize("rule", REGULATORS)
def test_only_the_ratio_of_the_losses_counts(rule):
    regulation = Regulation(rule=rule, lower=True)
    for r in (0.25, 0.5, 1.5, 2.0):
        assert regulate(regulation, 10, r, 1.0) == regulate(regulation, 10, r / 8, 1 / 8)


@pytest.mark.parametrize("rule", REGULATORS)
@given(k=steps, loss=losses, teacher=losses)
def test_the_papers_rules_never_lower_steps_below_the_cap(rule, k, loss, teacher):
    after = regulate(Regulation(rule=rule, most=1000), k, loss, teacher)
    assert k <= after <= 1000


@pytest.mark.parametrize("rule", REGULATORS)
@given(k=steps, loss=losses, teacher=losses)
def test_a_box_ahead_of_its_teacher_may_get_fewer_steps_and_never_more(rule, k, loss, teacher):
    regulation = Regulation(rule=rule, lower=True, least=3, most=1000)
    after = regulate(regulation, max(k, 3), loss, teacher)
    assert 3 <= after <= 1000
    if loss < teacher:
        assert after <= max(k, 3)


@pytest.mark.parametrize("rule", REGULATORS)
@given(k=steps, near=st.floats(0.0, 1.0), far=st.floats(0.0, 1.0))
def test_the_further_ahead_a_box_is_the_fewer_steps_it_gets(rule, k, near, far):
    regulation = Regulation(rule=rule, lower=True)
    far, near = sorted((far, near))
    assert regulate(regulation, k, far, 1.0) <= regulate(regulation, k, near, 1.0)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("incremental", (20, 10, 1)),
        ("dynamic-weighted", (20, 15, 10)),
        ("logarithmic", (20, 12, 7)),
        ("adaptive", (20, 10, 1)),
        ("hybrid", (20, 10, 1)),
    ],
)
def test_lowering_begins_at_equal_losses_and_ends_at_the_least(rule, expected):
    regulation = Regulation(rule=rule, lower=True)
    assert tuple(regulate(regulation, 20, r, 1.0) for r in (1.0, 0.5, 0.0)) == expected


def test_a_teacher_without_any_loss_asks_for_the_most():
    assert regulate(Regulation(rule="adaptive"), 10, 0.3, 0.0) == 100


def candidate(box: str, last: Standing | None) -> Candidate:
    return Candidate(box, 40, 1, last=last)


def made(pace: Pace, *last: Standing | None):
    boxes = [candidate(f"box-{number}", standing) for number, standing in enumerate(last)]
    return plan(boxes, Request("stalest", 0, 0, 9, pace))


ADAPTIVE = Pace(10, 3, Regulation(rule="adaptive", lower=True))


def test_each_box_is_paced_by_its_own_losses():
    behind, ahead = Standing(10, 0.6, 0.3, 0.5), Standing(10, 0.2, 0.4, 0.5)
    even, untaught = Standing(10, 0.4, 0.4, 0.5), Standing(10, 0.4, None, 0.5)
    assert made(ADAPTIVE, behind, ahead, even, untaught, None).steps == {"box-0": 20, "box-1": 5}


def test_steps_go_on_from_what_the_box_did_last():
    assert made(ADAPTIVE, Standing(40, 0.6, 0.3, 0.5)).steps == {"box-0": 80}
    assert made(ADAPTIVE, Standing(40, 0.3, 0.3, 0.5)).steps == {"box-0": 40}


def test_a_box_cannot_talk_itself_out_of_the_bounds():
    assert made(ADAPTIVE, Standing(2**31, 0.3, 0.3, 0.5)).steps == {"box-0": 100}
    assert made(ADAPTIVE, Standing(0, 0.3, 0.3, 0.5)).steps == {}


@pytest.mark.parametrize(
    "pace",
    [Pace(10, 2, ADAPTIVE.regulation), Pace(10, 9, replace(ADAPTIVE.regulation, rule="fixed"))],
)
def test_before_the_first_regulated_round_and_by_the_fixed_rule_all_do_the_same(pace):
    assert made(pace, Standing(40, 0.6, 0.3, 0.5)).steps == {}


def metrics(loss: float, rows: int, teacher: float | None = None) -> Metrics:
    return Metrics(
        first_loss=1.0,
        last_loss=1.0,
        validation_loss=loss,
        validation_accuracy=0.5,
        validation_rows=rows,
        steps=7,
        teacher_loss=teacher,
    )


def test_the_fleets_loss_is_the_mean_over_all_validation_rows():
    told = {"a": metrics(1.0, 10), "b": metrics(2.0, 30, 0.5), "c": metrics(9.0, 0)}
    stand = standings(told, dict.fromkeys(told, 40))
    assert stand == {"a": Standing(7, 1.0, None, 1.75), "b": Standing(7, 2.0, 0.5, 1.75)}


def test_no_box_counts_for_more_validation_rows_than_it_has_rows():
    told = {"honest": metrics(1.0, 10), "liar": metrics(5.0, 2**31)}
    stand = standings(told, {"honest": 40, "liar": 10})
    assert stand["honest"].fleet_loss == 3.0


def test_nobody_who_tells_gives_no_standing():
    assert standings({}, {}) == {} == standings({"a": metrics(1.0, 0)}, {"a": 40})


def test_the_paper_asks_those_whose_loss_is_nearest_the_fleets():
    last = [Standing(10, loss, None, 1.0) for loss in (0.2, 0.9, 1.05, 3.0)]
    boxes = [candidate(name, standing) for name, standing in zip("abcd", last, strict=True)]
    assert plan(boxes, Request("paper", 2, 0, 9)).cohort == ("b", "c")


def test_the_paper_asks_those_it_does_not_know_first():
    boxes = [candidate("known", Standing(10, 1.0, None, 1.0)), candidate("new", None)]
    assert plan(boxes, Request("paper", 1, 0, 9)).cohort == ("new",)
