"""What is left of a job that is over, and of a coordinator that is told to go."""

from pathlib import Path

import pytest

from coordinator import admission
from coordinator.keys import make_keys
from coordinator.operate import ask
from coordinator.service import Service, Start
from coordinator.store import Store
from edge_client import state
from firmware_sim.fleet import Fleet
from proto.errors import ConfigError, TransportError
from proto.transport import Delivery
from tests.flow.test_one_round import TASK, private_rows


def finished(home: Path) -> Fleet:
    fleet = Fleet(home)
    store = fleet.start_coordinator()
    for seed, name in enumerate(("pi-1", "pi-2", "pi-3")):
        fleet.add_box(name, private_rows(home / f"{name}.csv", seed))
    fleet.submit(TASK)
    fleet.run(until=lambda: store.job("tour").phase == "finished")
    fleet.clock.run(fleet.clock.now + 5)
    return fleet


def test_a_job_that_is_over_is_not_offered_to_boxes_that_come_later(tmp_path):
    fleet = finished(tmp_path)
    fleet.add_box("pi-9", private_rows(tmp_path / "pi-9.csv", 9))
    fleet.clock.run(fleet.clock.now + 700)  # tasks are announced again meanwhile
    assert fleet.boxes["pi-9"].state.link is state.Link.SECURED
    assert fleet.boxes["pi-9"].state.jobs == {}


def test_nothing_can_be_asked_of_a_job_that_is_over(tmp_path):
    fleet = finished(tmp_path)
    for wish in ("stop", "resume"):
        with pytest.raises(ConfigError, match=f"finished; there is nothing to {wish}"):
            ask(fleet.store, "tour", wish)


class FullPort:
    """A port whose queue is full."""

    closed = False

    def publish(self, _topic: str, _payload: bytes, *, retain: bool = False) -> None:
        raise TransportError("1024 publishes already wait")

    def subscribe(self, *patterns: str) -> None:
        pass

    def ack(self, delivery: Delivery) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_a_coordinator_that_cannot_say_goodbye_goes_all_the_same(tmp_path):
    fleet = admission.Fleet("f", make_keys(tmp_path, "f", 0.0), "")
    service = Service(Start(Store(tmp_path / "qfleet.db"), fleet, lambda: 1_700_000_000.0))
    port = FullPort()
    service.attach(port)
    service.close()
    assert port.closed
