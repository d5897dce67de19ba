"""What emulated boxes report for selection, and every rule at work on an emulated fleet."""

import msgspec
import pytest

from firmware_sim.emulation import Emulation, Settings, emulate
from firmware_sim.scenario import parse, with_policy
from proto.codec import decode_sealed, encode
from proto.messages import Report, Resources

FLEET = """
name = "reports"
sealing = "costed"
lasts = "3h"
[[group]]
name = "g"
count = 12
board = "pi-4"
link = { wifi = 1, lte = 1 }
behaviour = "mains"
[work]
[work.training]
steps = 2
[work.rounds]
count = 6
cohort = 4
quorum = 2
"""
HIDDEN = "[hidden]\nweak-supply = 0.5\n"
POLICIES = ("paper", "fedcs", "tifl", "power-of-choice", "oort", "eafl", "refl")


def said(text: str) -> list[Resources]:
    """What each box would report two hours in."""
    world = Emulation(parse(text), 3)
    world.fleet.clock.now = 7200.0
    return [world.resources(client.name) for client in world.clients]


def test_links_are_reported_as_they_are():
    told = said(FLEET)
    assert len({board.link_kbps for board in told}) > 6
    assert all((board.link_kbps or 0) > 50 for board in told)
    assert {board.journal for board in told} == {()}


def test_journals_leave_only_where_owners_let_them_and_fit_the_wire():
    told = said("journals = true\n" + FLEET + HIDDEN)
    assert all(len(board.journal) == 6 for board in told)
    for board in told:
        report = Report(turn=1, accepted=True, reason="", resources=board)
        assert decode_sealed(encode(report)) == report
    assert any("ago: " in line for board in told for line in board.journal)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_rule_carries_an_emulated_fleet_to_the_end_and_again_the_same(policy):
    scenario = with_policy(parse(FLEET), policy)
    once = emulate(scenario, 1, Settings(traced=False))
    assert once.phase == "finished"
    asked = [round_.asked for round_ in once.rounds if round_.kind == "train"]
    assert {len(cohort) for cohort in asked} == {4}
    again = emulate(scenario, 1, Settings(traced=False))
    assert msgspec.json.encode([r.asked for r in again.rounds]) == msgspec.json.encode(
        [r.asked for r in once.rounds]
    )
