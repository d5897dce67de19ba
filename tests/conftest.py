"""Fixtures for all tests: real brokers on loopback, started once or one for a test alone."""

from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from coordinator.broker_process import BrokerProcess, start_broker
from proto.errors import ConfigError

Kind = Literal["mosquitto", "iotcore"]


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A running mosquitto for all tests; its `url` says where. Use topics of your own."""
    yield from _running("mosquitto", tmp_path_factory)


@pytest.fixture(scope="session")
def iotcore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A running iotcore for all tests; its `url` says where. Use topics of your own."""
    yield from _running("iotcore", tmp_path_factory)


@pytest.fixture(params=["mosquitto", "iotcore"])
def any_broker(request: pytest.FixtureRequest) -> BrokerProcess:
    """Each real broker in turn, shared with other tests."""
    broker: BrokerProcess = request.getfixturevalue(request.param)
    return broker


@pytest.fixture
def own_broker(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Kind], BrokerProcess]]:
    """Makes brokers for this test alone, which it may stop, kill and restart."""
    started: list[BrokerProcess] = []

    def start(kind: Kind) -> BrokerProcess:
        started.append(_start(kind, tmp_path_factory))
        return started[-1]

    yield start
    for broker in started:
        broker.stop()


def _running(kind: Kind, paths: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    broker = _start(kind, paths)
    yield broker
    broker.stop()


def _start(kind: Kind, paths: pytest.TempPathFactory) -> BrokerProcess:
    try:
        return start_broker(paths.mktemp(kind), kind)
    except ConfigError as missing:
        pytest.skip(str(missing))
