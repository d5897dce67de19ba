"""Fleets on a Ray cluster give the results of virtual ones, to the byte."""

import importlib.util
from functools import partial

import msgspec
import pytest
from msgspec.structs import replace

from firmware_sim.emulation import Settings, emulate
from firmware_sim.on_ray import SharedWorkshop, alone, cluster, sweep
from firmware_sim.scenario import with_policy
from firmware_sim.virtual import Plan, Still, VirtualFleet
from proto.errors import ConfigError
from tests.firmware_sim.test_emulation import scenario
from tests.firmware_sim.test_virtual import TASK, rows


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"qfleet\[ray\]"), cluster():
        pass


@pytest.mark.filterwarnings("ignore")
def test_a_sweep_and_shared_training_give_what_one_process_gives(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    one = scenario(tmp_path)
    jobs = [(one, "random", 3), (one, "", 4)]
    here = [emulate(with_policy(one, "random"), 3), emulate(one, 4)]
    with cluster(workers=2) as ray:
        there = dict(sweep(ray, jobs))
        for at, result in enumerate(here):
            assert plain(there[at]) == plain(result)

        monkeypatch.setattr("firmware_sim.on_ray.SHARE", 4)
        for name, where in (("here", emulate), ("there", partial(alone, ray))):
            result = where(one, 4, Settings(trace=tmp_path / name))
            assert plain(result) == plain(here[1])
        assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
        fleet = fleet_of(6)
        fleet.workshop = SharedWorkshop(Still(rows), ray, 2)
        assert run(fleet) == run(fleet_of(6))


def plain(result) -> bytes:
    return msgspec.json.encode(replace(result, cost={}, engine=""))


def fleet_of(boxes: int) -> VirtualFleet:
    fleet = VirtualFleet(Plan(Still(rows), traced=True))
    fleet.start_coordinator()
    fleet.submit(TASK)
    for number in range(boxes):
        fleet.add_box(f"b{number}")
    return fleet


def run(fleet: VirtualFleet) -> str:
    for box in sorted(fleet._disks):
        fleet.start_box(box)
    fleet.run_job("job", 3600.0)
    assert fleet.finished("job")
    return fleet.trace.digest()
