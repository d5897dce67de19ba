from collections import Counter

import numpy as np
import pytest

from coordinator.selection.candidates import Candidate, infeasible
from coordinator.selection.plan import COVERAGE, Plan, plan
from coordinator.selection.request import Request
from coordinator.selection.scorers import SCORERS
from proto.messages import Resources

NAMES = [f"box-{number:02}" for number in range(20)]


def run(scorer: str, turns: int, size: int = 4, seed: int = 0) -> list[Plan]:
    """Plans turn by turn; everybody who is asked takes part."""
    last = dict.fromkeys(NAMES, 0)
    plans = []
    for turn in range(1, turns + 1):
        boxes = [Candidate(name, 40, last[name]) for name in NAMES]
        plans.append(plan(boxes, Request(scorer, size, seed, turn)))
        last |= dict.fromkeys(plans[-1].cohort, turn)
    return plans


def shares(plans: list[Plan]) -> np.ndarray:
    counts = Counter(box for made in plans for box in made.cohort)
    return np.array([counts[name] for name in NAMES], float)


def jain(counts: np.ndarray) -> float:
    """Jain's fairness index: 1 when all have the same, 1/n when one has all."""
    return float(counts.sum() ** 2 / (len(counts) * (counts**2).sum()))


@pytest.mark.parametrize("scorer", SCORERS)
def test_the_same_seed_plans_the_same_cohorts_in_any_order_of_candidates(scorer):
    boxes = [Candidate(name, 40) for name in NAMES]
    request = Request(scorer, 4, 7, 3)
    assert plan(boxes, request) == plan(boxes[::-1], request)
    assert run(scorer, 20, seed=1) == run(scorer, 20, seed=1) != run(scorer, 20, seed=2)


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_cohort_has_the_asked_size_in_id_order(scorer):
    for made in run(scorer, 20):
        assert list(made.cohort) == sorted(set(made.cohort))
        assert len(made.cohort) == 4


def test_a_size_of_zero_asks_everybody():
    assert run("stalest", 1, size=0)[0].cohort == tuple(NAMES)


def test_fewer_boxes_than_asked_for_are_all_asked():
    boxes = [Candidate("a", 40), Candidate("b", 40)]
    assert plan(boxes, Request("random", 9, 0, 1)).cohort == ("a", "b")


def test_nobody_gives_an_empty_plan():
    assert plan([], Request("stalest", 4, 0, 1)) == Plan(())


def test_random_is_fair_over_many_turns():
    counts = shares(run("random", 500))
    assert jain(counts) > 0.99
    assert counts.min() > 80


def test_random_does_not_follow_a_fixed_round():
    cohorts = [made.cohort for made in run("random", 200)]
    assert len(set(cohorts)) > 100


def test_stalest_starves_nobody():
    plans = run("stalest", 100)
    assert jain(shares(plans)) > 0.999
    for start in range(0, 100, 5):
        asked = {box for made in plans[start : start + 5] for box in made.cohort}
        assert asked == set(NAMES)


@pytest.mark.parametrize("scorer", SCORERS)
def test_no_box_waits_longer_than_coverage_allows(scorer):
    """Only the stalest 2.5 cohorts are considered, so nobody is left out for ever."""
    waits, last = [], dict.fromkeys(NAMES, 0)
    for turn, made in enumerate(run(scorer, 300), 1):
        waits += [turn - last[box] for box in made.cohort]
        last |= dict.fromkeys(made.cohort, turn)
    assert set(last) == set(NAMES)
    assert max(waits) <= 40


def test_scorers_choose_among_the_stalest_only():
    boxes = [Candidate(name, 40, turn) for turn, name in enumerate(NAMES)]
    made = plan(boxes, Request("random", 4, 0, 50))
    assert set(made.scores) == set(NAMES[: int(COVERAGE * 4)])


def test_a_box_that_never_took_part_goes_first():
    boxes = [Candidate("new", 40), *(Candidate(name, 40, 90) for name in NAMES)]
    assert "new" in plan(boxes, Request("stalest", 1, 0, 99)).cohort


@pytest.mark.parametrize(
    ("board", "reason"),
    [
        (Resources(battery=19, charging=False), "battery at 19 %, not charging"),
        (Resources(battery=5), "battery at 5 %, not charging"),
        (Resources(ram_free_mib=47), "only 47 MiB of memory free"),
        (Resources(temperature_c=81), "81 °C hot"),
    ],
)
def test_an_unfit_box_is_refused_with_the_reason(board, reason):
    sick = Candidate("sick", 40, 0, board)
    made = plan([sick, Candidate("fit", 40)], Request("stalest", 2, 0, 1))
    assert made.cohort == ("fit",)
    assert made.refused == {"sick": reason}


@pytest.mark.parametrize(
    "board",
    [
        Resources(),
        Resources(battery=5, charging=True),
        Resources(battery=20, charging=False),
        Resources(ram_free_mib=48, temperature_c=80),
    ],
)
def test_what_a_board_does_not_tell_speaks_for_it(board):
    assert infeasible(Candidate("box", 40, 0, board)) == ""
