import math

import pytest

from firmware_sim.hidden import FAULTS, NOTHING, Fault, FaultName, effects, survives_s

HOUR = 3600.0


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_does_nothing_before_it_begins(name: FaultName) -> None:
    assert effects(Fault(name, since=HOUR), HOUR - 1) == NOTHING


@pytest.mark.parametrize("name", ["weak-supply", "dying-card", "blocked-fan"])
def test_most_bite_only_after_the_journal_has_known_for_a_while(name: FaultName) -> None:
    fault = Fault(name, since=0.0, lead_s=1800.0)
    assert effects(fault, 1799.0) == NOTHING
    assert effects(fault, 3 * HOUR) != NOTHING


def test_each_fault_hurts_in_its_own_way() -> None:
    late = 10 * HOUR
    found = {name: effects(Fault(name, 0.0), late) for name in FAULTS}
    assert found["weak-supply"].cap == pytest.approx(0.4)
    assert found["weak-supply"].crash_per_h > 1
    assert found["dying-card"].loses_update > 0.5
    assert found["memory-leak"].ram_mib == pytest.approx(1200)
    assert found["blocked-fan"].heat > 2
    assert found["metered-link"].metered


def test_who_has_no_fault_is_never_affected() -> None:
    assert effects(None, 1e9) == NOTHING


def test_crashes_come_at_the_rate_they_are_said_to() -> None:
    draws = [survives_s(4.0, (n + 0.5) / 1000) for n in range(1000)]
    assert sum(draws) / 1000 == pytest.approx(900, rel=0.02)
    assert survives_s(0.0, 0.5) == math.inf
