import math
from pathlib import Path

import pytest

from coordinator.selection.scorers import SCORERS
from firmware_sim.compare import compare, geometric, mean, sweep, wilson
from firmware_sim.emulation import emulate
from firmware_sim.outcome import Result, RoundOutcome, jain, participation, reached, total
from firmware_sim.scenario import Scenario, parse, read
from proto.errors import ConfigError
from tests.firmware_sim.outcomes import CLIENTS, outcome, result

SMALL = """
name = "small"
[[group]]
name = "a"
count = 5
board = { pi-4 = 4, pi-zero-2w = 1 }
rows = [40, 60]
[work]
skew = 5.0
effort = 100.0
target = 0.6
[work.training]
steps = 8
[work.rounds]
count = 3
cohort = 2
quorum = 1
"""


def trained(run: Result) -> list[RoundOutcome]:
    return [row for row in run.rounds if row.kind == "train"]


def test_the_target_is_reached_by_the_first_round_that_has_it() -> None:
    run = result("stalest", 0)
    assert reached(run) == 8
    assert total(run, 8).seconds == 4800
    assert total(run, 8).bytes == 80_000
    assert total(run).rounds == 12


def test_a_target_that_is_missed_counts_with_all_that_was_spent() -> None:
    run = result("stalest", 0, rounds=5)
    assert reached(run) is None
    assert total(run, None).seconds == 3000
    row = compare([run]).rows[0]
    assert (row.hits, row.seconds.mean) == (0, pytest.approx(3000))


def test_only_updates_that_counted_are_participation() -> None:
    rows = (outcome(1), outcome(2, outcome="missed"), outcome(3, kind="evaluate"))
    counts = participation(
        Result(
            scenario="x",
            policy="p",
            engine="virtual",
            seed=0,
            clients=CLIENTS,
            target=0.9,
            rounds=rows,
            ended_s=1.0,
            phase="finished",
        )
    )
    assert sum(counts) == len(rows[0].included)
    assert {at + 1 for at, count in enumerate(counts) if count} == set(rows[0].included)


def test_jains_index_is_one_for_all_alike_and_a_share_for_one_alone() -> None:
    assert jain((3, 3, 3, 3)) == pytest.approx(1.0)
    assert jain((5, 0, 0, 0)) == pytest.approx(0.25)
    assert jain((0, 0)) == 0.0


def test_intervals_are_students() -> None:
    found = mean([1.0, 2.0, 3.0])
    assert (found.mean, found.high - found.mean) == (2.0, pytest.approx(4.303 / math.sqrt(3)))
    assert mean([0.1, 0.9], (0.0, 1.0)).low == 0.0
    assert not mean([4.0]).known


def test_geometric_means_treat_twice_and_half_alike() -> None:
    found = geometric([0.5, 2.0, 1.0])
    assert found.mean == pytest.approx(1.0)
    assert found.low == pytest.approx(1 / found.high)


def test_a_share_has_wilsons_interval() -> None:
    assert wilson(8, 10).low == pytest.approx(0.4902, abs=1e-3)
    assert wilson(8, 10).high == pytest.approx(0.9433, abs=1e-3)
    assert wilson(0, 5).low == 0.0


def test_ratios_are_paired_by_seed() -> None:
    # Seeds differ tenfold, policies by a factor that is always the same.
    runs = [
        result(policy, seed, slower=10.0**seed * factor)
        for seed in range(4)
        for policy, factor in (("stalest", 1.0), ("random", 1.5))
    ]
    found = compare(runs)
    assert found.ratios[0].seconds.mean == pytest.approx(1.0)
    assert found.ratios[1].seconds.low == pytest.approx(1.5)
    assert found.ratios[1].seconds.high == pytest.approx(1.5)
    assert found.rows[0].seconds.high > 10 * found.rows[0].seconds.low


def test_runs_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ConfigError, match="no run"):
        compare([])
    with pytest.raises(ConfigError, match="same seeds"):
        compare([result("stalest", 0), result("random", 1)])


def test_a_sweep_runs_every_policy_on_every_seed_of_a_real_fleet() -> None:
    policies = tuple(name for name in SCORERS if name in ("stalest", "random", "paper"))
    assert len(policies) == 3
    runs = sweep(parse(SMALL), policies, (0, 1), emulate)
    assert [(r.policy, r.seed) for r in runs] == [(p, s) for s in (0, 1) for p in policies]
    found = compare(runs)
    assert [row.policy for row in found.rows] == list(policies)
    assert all(row.energy_j.mean > 0 and row.bytes.mean > 0 for row in found.rows)
    assert trained(runs[0])[-1].accuracy is not None


def test_a_policy_that_is_not_there_or_twice_is_refused_before_anything_runs() -> None:
    def never(_scenario: Scenario, _seed: int) -> Result:
        raise AssertionError("nothing may run")

    with pytest.raises(ConfigError, match="policy is best; accepted: one of"):
        sweep(parse(SMALL), ("random", "best"), (0,), never)
    with pytest.raises(ConfigError, match="one name twice"):
        sweep(parse(SMALL), ("random", "random"), (0,), never)


def test_effort_is_paid_for_in_time_and_energy_and_changes_nothing_that_is_learned() -> None:
    light, heavy = (
        emulate(parse(SMALL.replace("100.0", effort)), 0) for effort in ("1.0", "1000.0")
    )
    assert total(heavy).seconds > 3 * total(light).seconds
    assert total(heavy).energy_j > 3 * total(light).energy_j
    assert [r.included for r in trained(heavy)] == [r.included for r in trained(light)]
    assert trained(heavy)[-1].model == trained(light)[-1].model


def test_bytes_over_metered_links_are_told_apart() -> None:
    free, paid = (
        total(emulate(parse(SMALL.replace('"a"', f'"a"\nlink = "{link}"')), 0))
        for link in ("wifi", "lte")
    )
    assert free.paid_bytes == 0
    assert paid.paid_bytes > paid.bytes  # which do not count joining and births
    hidden = parse(SMALL + '[hidden]\nmetered-link = 1.0\nwithin = "1s"')
    assert total(emulate(hidden, 0)).paid_bytes > 0


def test_an_adapters_costs_can_be_paid_while_a_circuit_learns() -> None:
    text = SMALL.replace("effort = 100.0", 'costs_like = "adapter"').replace("pi-zero-2w", "pi-5")
    light, heavy = (
        emulate(parse(text.replace('"adapter"', '"circuit"')), 0),
        emulate(parse(text), 0),
    )
    assert total(heavy).seconds > 3 * total(light).seconds
    assert trained(heavy)[-1].model == trained(light)[-1].model


def test_a_training_that_needs_more_memory_than_a_board_has_dies_and_rounds_go_on() -> None:
    text = SMALL.replace("effort = 100.0", "effort = 100.0\nmemory_mib = 400")
    run = emulate(parse(text.replace("cohort = 2", "cohort = 5")), 0)
    zero = run.boards.index("pi-zero-2w") + 1
    assert run.phase == "finished"
    assert all(zero not in r.included for r in trained(run))
    assert any("memory" in reason for reason in run.refusals)


def test_the_smallest_ready_fleet_learns() -> None:
    path = Path(__file__).parents[2] / "examples" / "fleets" / "01-four-pis-on-a-desk.toml"
    assert reached(emulate(read(path), 0)) is not None
