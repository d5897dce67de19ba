"""Real processes, a real broker: whatever is killed, the job goes on and nothing counts twice."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.broker_process import BrokerProcess
from tests.flow.real_fleet import RealFleet, check_history, task

pytestmark = pytest.mark.processes

OwnBroker = Callable[[str], BrokerProcess]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[RealFleet]:
    """A coordinator with the embedded broker."""
    with RealFleet(tmp_path) as made:
        made.coordinate()
        yield made


@pytest.fixture
def broker(own_broker: OwnBroker) -> BrokerProcess:
    """Somebody else's broker, as far as the coordinator knows."""
    return own_broker("mosquitto")


@pytest.fixture
def guests(tmp_path: Path, broker: BrokerProcess) -> Iterator[RealFleet]:
    """A fleet on that broker; its coordinator is not started yet."""
    with RealFleet(tmp_path, ("--broker", str(broker.url))) as made:
        yield made


def test_boxes_and_their_training_may_be_killed_and_come_back(fleet: RealFleet) -> None:
    fleet.add_boxes("a", "b", "c", "d")
    fleet.begin(task("job", boxes=4, rounds=14), hold="a")

    # The training process of one box is killed: it declines that turn and says why.
    turn = fleet.state().turn
    fleet.brake("b")
    fleet.workers("a")[0].kill()
    fleet.until_said("coordinator", "a declined", "the training process was killed")

    # A box is killed mid-round and started again: the round ends with it.
    fleet.until_waiting_for("b")
    assert "a" not in fleet.store.senders(turn)
    fleet.brake("c")
    turn = fleet.state().turn
    fleet.crash("b")
    fleet.start_box("b")
    fleet.until(lambda: "b" in fleet.store.senders(turn))

    # A box is away for three rounds, comes back and takes part.
    fleet.until_waiting_for("c")
    rounds = len(fleet.done())
    fleet.crash("d")
    fleet.until(lambda: not fleet.store.box("d").online)
    fleet.let_go("c")
    fleet.until(lambda: len(fleet.done()) >= rounds + 4)
    fleet.brake("a")
    turn = fleet.until_waiting_for("a")
    fleet.start_box("d")
    fleet.until(lambda: fleet.store.box("d").online)
    fleet.let_go("a")
    fleet.until(lambda: fleet.took_part("d", after=turn))

    fleet.until_over()
    check_history(fleet.store)
