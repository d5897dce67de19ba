"""Each selection method asks whom its paper would have it ask."""

from collections import Counter

import pytest
from msgspec.structs import replace

from coordinator.selection.candidates import Candidate, Past, Turn, after, waited
from coordinator.selection.constants import EAFL, Constants, FedCS, Oort, PowerOfChoice, TiFL
from coordinator.selection.lots import weighted
from coordinator.selection.plan import plan
from coordinator.selection.regulators import Regulation
from coordinator.selection.request import Pace, Request
from coordinator.selection.scorers import SCORERS
from coordinator.selection.speed import _draw
from coordinator.selection.steps import fill_slack, meet, steps_of
from coordinator.selection.utility import percentile, utilities
from proto.messages import Resources

PACE = Pace(steps=10, round=5)


def box(name: str, *, rows: int = 40, board: Resources | None = None, **past) -> Candidate:
    """Asked and delivered once, in turn 4, unless the past says otherwise."""
    known = {"asked": 1, "delivered": 1, "last_asked": 4, "steps": 10}
    return Candidate(name, rows, 4, board or Resources(), None, Past(**(known | past)))


def request(scorer: str, size: int = 2, **changes) -> Request:
    return Request(scorer, size, changes.pop("seed", 0), 9, PACE, 120.0, **changes)


def asked(boxes: list[Candidate], wanted: Request) -> set[str]:
    return set(plan(boxes, wanted).cohort)


def timed(*seconds: float) -> list[Candidate]:
    return [box(f"b{at}", seconds=each) for at, each in enumerate(seconds)]


# --- by speed -------------------------------------------------------------------------------------


def test_fedcs_asks_the_fastest():
    assert asked(timed(30, 10, 20, 40), request("fedcs")) == {"b1", "b2"}


def test_fedcs_asks_a_box_of_unknown_speed_first():
    boxes = [*timed(30, 10), box("new", seconds=None)]
    assert asked(boxes, request("fedcs")) == {"b1", "new"}


def test_fedcs_scores_below_all_others_who_would_overrun():
    scores = SCORERS["fedcs"](timed(30, 61), request("fedcs"))
    assert scores["b0"] > 0 > scores["b1"]
    patient = request("fedcs", constants=Constants(fedcs=FedCS(seconds=100)))
    assert SCORERS["fedcs"](timed(30, 61), patient)["b1"] > 0


def test_tifl_asks_boxes_of_one_tier():
    boxes = timed(10, 11, 20, 21)
    constants = Constants(tifl=TiFL(tiers=2))
    seen = {
        frozenset(asked(boxes, request("tifl", seed=seed, constants=constants)))
        for seed in range(40)
    }
    assert seen == {frozenset({"b0", "b1"}), frozenset({"b2", "b3"})}


def test_tifl_draws_the_tier_with_the_higher_losses_more_often():
    boxes = [box("a", seconds=1, loss=0.1), box("b", seconds=9, loss=0.9)]
    constants = Constants(tifl=TiFL(tiers=2))
    drawn = Counter(
        min(asked(boxes, request("tifl", 1, seed=seed, constants=constants))) for seed in range(300)
    )
    assert drawn["b"] / 300 == pytest.approx(2 / 3, abs=0.09)


def test_a_tiers_chance_falls_with_its_rank():
    share = Counter(_draw(4, at / 1000) for at in range(1000))
    assert [share[rank] for rank in range(4)] == pytest.approx([400, 300, 200, 100], abs=1)


# --- by what is to be learned ---------------------------------------------------------------------


def test_power_of_choice_asks_the_highest_losses_of_those_drawn():
    boxes = [box(f"b{at}", loss=at / 10) for at in range(5)]
    assert asked(boxes, request("power-of-choice")) == {"b3", "b4"}


def test_power_of_choice_draws_boxes_with_more_rows_more_often():
    boxes = [box("few", rows=1, loss=9.0), *(box(f"b{at}", rows=99, loss=0.1) for at in range(4))]
    only = Constants(power_of_choice=PowerOfChoice(draw=1.0))
    drawn = [asked(boxes, request("power-of-choice", 1, seed=s, constants=only)) for s in range(60)]
    assert sum("few" in chosen for chosen in drawn) < 6


def test_power_of_choice_takes_a_new_boxs_loss_for_infinite():
    boxes = [box("new", loss=None), box("a", loss=5.0), box("b", loss=1.0)]
    assert asked(boxes, request("power-of-choice", 1)) == {"new"}


def test_lots_by_weight_follow_the_weights():
    keys = [max((weighted(u / 997 % 1, w), w) for u, w in ((7 * n, 1), (13 * n + 5, 3)))[1]
            for n in range(1, 997)]  # fmt: skip
    assert keys.count(3) / len(keys) == pytest.approx(3 / 4, abs=0.05)


def test_oort_prefers_what_teaches_and_punishes_who_is_slower_than_preferred():
    boxes = [
        box("dull", loss=0.1, seconds=10),
        box("rich", loss=0.9, seconds=10),
        box("slow", loss=0.9, seconds=40),
    ]
    found = utilities(boxes, request("oort"))
    assert found["rich"] > found["dull"] > 0
    assert found["slow"] == pytest.approx(found["rich"] / 16)
    mild = Constants(oort=Oort(penalty=0.0))
    assert utilities(boxes, request("oort", constants=mild))["slow"] == found["rich"]


def test_oorts_utility_grows_with_the_time_since_a_box_was_asked():
    old, new = box("old", loss=0.5, last_asked=1), box("new", loss=0.5, last_asked=8)
    found = utilities([old, new], request("oort"))
    assert found["old"] > found["new"]


def test_oort_explores_less_as_rounds_go_by():
    boxes = [box(f"k{at}", loss=0.5) for at in range(10)]
    boxes += [Candidate(f"n{at}", 40) for at in range(10)]

    def fresh(round_: int) -> int:
        wanted = Request("oort", 10, 0, 6, Pace(10, round_), 120.0)
        return sum(name.startswith("n") for name in asked(boxes, wanted))

    assert (fresh(1), fresh(500)) == (9, 2)


def test_a_percentile_of_nothing_is_zero():
    assert percentile([], 95) == 0.0
    assert [percentile([3, 1, 2], p) for p in (0, 50, 100)] == [1, 2, 3]


# --- by power and presence ------------------------------------------------------------------------

LOW, HIGH = Resources(battery=30, charging=False), Resources(battery=95, charging=False)


def test_eafl_spares_the_emptier_battery_where_boxes_teach_alike():
    boxes = [box("low", board=LOW, loss=0.5), box("high", board=HIGH, loss=0.5)]
    assert asked(boxes, request("eafl", 1)) == {"high"}


def test_eafl_with_all_weight_on_utility_is_oorts():
    boxes = [box("low", board=LOW, loss=0.9), box("high", board=HIGH, loss=0.1)]
    alone = Constants(eafl=EAFL(utility=1.0))
    assert asked(boxes, request("eafl", 1, constants=alone)) == {"low"}


def test_refl_asks_first_who_may_soon_be_gone():
    mains = box("mains", board=Resources(battery=50, charging=True))
    assert asked([mains, box("low", board=LOW)], request("refl", 1)) == {"low"}
    shaky = box("shaky", asked=8, delivered=2)
    assert asked([mains, shaky], request("refl", 1)) == {"shaky"}


# --- steps ----------------------------------------------------------------------------------------


def test_slack_is_filled_up_to_the_slowest_and_no_further():
    paces = {"fast": 1.0, "slow": 3.0}
    assert fill_slack(paces, replace_most(10, 100)) == {"fast": 30, "slow": 10}
    assert fill_slack(paces, replace_most(10, 15)) == {"fast": 15, "slow": 10}
    assert fill_slack({}, replace_most(10, 100)) == {}


def replace_most(steps: int, most: int) -> Pace:
    return Pace(steps, 5, Regulation(rule="slack", most=most))


def test_the_compass_has_all_arrive_with_the_fastest_at_most_steps():
    bounds = Regulation(rule="compass", least=5, most=40)
    assert meet({"fast": 1.0, "half": 2.0, "slow": 100.0}, bounds) == {
        "fast": 40, "half": 20, "slow": 5,
    }  # fmt: skip
    assert meet({}, bounds) == {}


@pytest.mark.parametrize(
    ("rule", "given"), [("slack", {"b0": 30}), ("compass", {"b0": 100, "b1": 33})]
)
def test_a_plan_names_the_steps_that_are_not_the_tasks_own(rule, given):
    boxes = [*timed(10, 30), Candidate("new", 40)]
    wanted = replace_pace(request("stalest", 3), rule)
    assert steps_of(boxes, wanted) == given
    made = plan(boxes, wanted)
    assert made.steps == given
    assert made.forecast.seconds == pytest.approx(30 if rule == "slack" else 100, rel=0.02)


def replace_pace(wanted: Request, rule: str) -> Request:
    return Request(wanted.scorer, wanted.size, 0, 9, Pace(10, 5, Regulation(rule=rule)), 120.0)


# --- the past -------------------------------------------------------------------------------------


def test_a_delivery_is_remembered_and_ends_a_row_of_misses():
    past = after(after(Past(), Turn(3)), Turn(4))
    assert (past.asked, past.delivered, past.misses, past.last_asked) == (2, 0, 2, 4)
    past = after(past, Turn(7, 12.5, 10, 0.4))
    assert past == Past(
        asked=3, delivered=1, last_asked=7, misses=0, seconds=12.5, steps=10, loss=0.4
    )


def test_a_round_that_was_called_off_is_nobodys_miss():
    assert after(Past(), Turn(3, excused=True)) == Past(asked=1, last_asked=3)


def test_each_miss_doubles_the_wait_so_that_no_box_holds_up_every_round():
    fresh = box("x")
    missed = Candidate("x", 40, 0, past=replace(fresh.past, misses=2))
    assert waited(Candidate("x", 40, 4, past=fresh.past), 12) == 8
    assert waited(missed, 12) == 2


def test_boxes_that_never_deliver_do_not_fill_every_cohort():
    names, dead = [f"b{at:02}" for at in range(20)], {f"b{at:02}" for at in range(4)}
    past, counted, wasted = dict.fromkeys(names, Past()), dict.fromkeys(names, 0), 0
    for turn in range(1, 101):
        boxes = [Candidate(n, 40, counted[n], past=past[n]) for n in names]
        cohort = plan(boxes, Request("stalest", 4, 0, turn)).cohort
        wasted += len(dead & set(cohort))
        for name in cohort:
            past[name] = after(past[name], Turn(turn, None if name in dead else 5.0))
            counted[name] = counted[name] if name in dead else turn
    assert 0 < wasted < 30  # of 400 places; a fifth of the boxes is dead
