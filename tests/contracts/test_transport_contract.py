"""One contract, three implementations, and the in-memory one again over a poor link."""

from collections.abc import Iterator

import pytest

from coordinator.broker_process import BrokerProcess
from firmware_sim.link import Link
from tests.contracts.transport import TransportContract
from tests.contracts.worlds import MemoryWorld, RealWorld


class TestInMemory(TransportContract):
    @pytest.fixture
    def world(self) -> Iterator[MemoryWorld]:
        return MemoryWorld()


class TestInMemoryOverASlowLossyLink(TransportContract):
    @pytest.fixture
    def world(self) -> Iterator[MemoryWorld]:
        return MemoryWorld(Link(seed=7, delay_s=0.05, loss=0.2))


@pytest.mark.broker
class TestMosquitto(TransportContract):
    @pytest.fixture
    def world(self, mosquitto: BrokerProcess) -> Iterator[RealWorld]:
        world = RealWorld(mosquitto)
        yield world
        world.close()


@pytest.mark.broker
class TestIotcore(TransportContract):
    @pytest.fixture
    def world(self, iotcore: BrokerProcess) -> Iterator[RealWorld]:
        world = RealWorld(iotcore)
        yield world
        world.close()
