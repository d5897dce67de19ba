"""What commands do beside a running coordinator: they write to its store, and it notices."""

import time
from pathlib import Path
from typing import Protocol

from coordinator import admission, reports
from coordinator.keys import read_keys, rekey
from coordinator.rehearsal import rehearse
from coordinator.store import Store
from coordinator.submit import submit
from coordinator.taskfile import read
from proto.broker_url import BrokerUrl
from proto.errors import ConfigError
from proto.joining import token_text
from proto.topics import checked

LOOK = 0.3
"""Seconds between looks at the store while following a job."""


class Follower(Protocol):
    """Shown each change of a job."""

    def update(self, report: reports.Report) -> None: ...
    def close(self) -> None: ...


def open_store(home: Path) -> Store:
    """Raises ConfigError where no coordinator has run."""
    path = home / "qfleet.db"
    if not path.exists():
        raise ConfigError(f"no coordinator has run on {home}; run `coordinator start` first")
    return Store(path)


def fleet_name(store: Store) -> str:
    return (store.fact("fleet") or b"fleet").decode()


def make_token(home: Path, name: str, hours: float, broker: str) -> str:
    """A join token's text. Raises ConfigError."""
    if name:
        checked(name)
    store = open_store(home)
    fleet, now = fleet_name(store), time.time()
    url = broker or (store.fact("url") or b"").decode()
    if not url:
        raise ConfigError("the broker asks for a login: give the box's own with --broker")
    BrokerUrl.parse(url)
    own = not broker and store.fact("own") == b"1"
    token = admission.new_token(url, fleet, read_keys(home, fleet), own=own)
    admission.invite(store, token, name, now + hours * 3600)
    return token_text(token)


def renew_key(home: Path) -> int:
    """The new key record's serial."""
    return rekey(home, fleet_name(open_store(home)), time.time()).serial


def hand_in(store: Store, path: Path) -> str:
    """Submit a task file; the job's name."""
    return submit(store, read(path), fleet_name(store), time.time()).job


def rehearsed(store: Store, path: Path) -> reports.Report:
    """What handing in this task file, or its next round, would do now."""
    return rehearse(store, read(path), fleet_name(store), time.time())


def ask(store: Store, job: str, wish: str) -> None:
    """Leave a wish ("stop", "resume") for the running coordinator."""
    phase = reports.show(store, job)["phase"]
    if phase == "finished" or (phase == "stopped") == (wish == "stop"):
        raise ConfigError(f"{job} is {phase}; there is nothing to {wish}")
    store.change_job(job, asked=wish)


def follow(store: Store, job: str, follower: Follower | None) -> None:
    """Wait until a job is over, showing each change."""
    seen = None
    try:
        while True:
            report = reports.show(store, job)
            if report != seen and follower is not None:
                follower.update(report)
            seen = report
            if report["phase"] in ("finished", "stopped"):
                return
            time.sleep(LOOK)
    finally:
        if follower is not None:
            follower.close()
