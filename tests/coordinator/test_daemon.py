"""The coordinator's process where it fails."""

import time

import pytest

from coordinator import daemon
from coordinator.agent.advisor import Agent
from coordinator.config import CoordinatorConfig
from coordinator.keys import make_keys
from coordinator.store import Store
from proto.broker_url import BrokerUrl


def test_a_coordinator_that_fails_closes_its_agent_first(tmp_path, monkeypatch):
    closed = []

    class Told(Agent):
        def close(self) -> None:
            closed.append(self)
            super().close()

    monkeypatch.setattr(daemon, "Agent", Told)
    keys, store = make_keys(tmp_path, "fleet", time.time()), Store(tmp_path / "qfleet.db")
    store.close()
    nowhere = daemon.Broker(BrokerUrl("127.0.0.1", 1), "", None)
    with pytest.raises(Exception, match="closed"):
        daemon._serve(CoordinatorConfig(fleet="fleet"), keys, store, nowhere)
    assert len(closed) == 1
