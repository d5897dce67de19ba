"""Emulated fleets on a Ray cluster, or on a local one that is started here: the engine `ray`.

Sweeps run one fleet a worker; the training of one very large fleet may be shared out as well. What
crosses is encoded by us: JSON and MessagePack. Results are those of `virtual`, to the byte, because
a run depends on its scenario and seed alone.
"""

import importlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from edge_client.dataset import Table
from edge_client.requests import Assignment
from edge_client.requests import Result as Work
from firmware_sim.outcome import Result
from firmware_sim.scenario import Scenario, with_policy
from firmware_sim.workshop import Workshop
from proto.errors import ConfigError

if TYPE_CHECKING:
    from firmware_sim.emulation import Settings

Job = tuple[Scenario, str, int]
"""A scenario, a policy (empty: its own) and a seed."""

SHARE = 64
"""Boxes below which a cohort is not worth sending away."""


@contextmanager
def cluster(address: str = "", workers: int = 0) -> Iterator[Any]:
    """Ray, connected to `address`, or with a local cluster of `workers` (0: one a core).

    Raises ConfigError without the extra, or where no cluster answers.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("the engine ray needs its extra: pip install 'qfleet[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = importlib.import_module("ray")
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
    if address:
        options = {"address": address, "log_to_driver": False}
    elif workers:
        options["num_cpus"] = workers
    try:
        ray.init(logging_level="ERROR", **options)
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"no Ray cluster at {address or 'this machine'}: {error}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def sweep(ray: Any, jobs: Sequence[Job]) -> Iterator[tuple[int, Result]]:
    """Each job's number and result, as they come."""
    remote = ray.remote(_run)
    waiting = {remote.remote(_encoded(job), job[2]): at for at, job in enumerate(jobs)}
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        for ref in done:
            yield waiting.pop(ref), msgspec.json.decode(ray.get(ref), type=Result)


def _encoded(job: Job) -> bytes:
    scenario, policy, _ = job
    return msgspec.json.encode(with_policy(scenario, policy) if policy else scenario)


def _run(scenario: bytes, seed: int) -> bytes:
    """On a worker."""
    from firmware_sim.emulation import Settings, emulate  # noqa: PLC0415 - on the worker alone

    read = msgspec.json.decode(scenario, type=Scenario)
    return msgspec.json.encode(replace(emulate(read, seed, Settings()), engine="ray"))


# --- the training of one fleet, shared out --------------------------------------------------------


def alone(ray: Any, scenario: Scenario, seed: int, settings: "Settings") -> Result:
    """One fleet, here; the training of its large cohorts is shared out among all workers."""
    from firmware_sim.emulation import emulate  # noqa: PLC0415 - imports us

    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    shared = settings._replace(workshop=lambda source: SharedWorkshop(source, ray, workers))
    return replace(emulate(scenario, seed, shared), engine="ray")


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of some boxes, by name."""

    tables: dict[str, Table]

    def rows(self, box: str) -> Table:
        return self.tables[box]

    def version(self, _box: str) -> int:
        return 0


class SharedWorkshop(Workshop):
    """A workshop that sends parts of a large cohort to a cluster's workers."""

    def __init__(self, source: Any, ray: Any, workers: int) -> None:
        super().__init__(source)
        self._remote, self._ray, self._workers = ray.remote(_train), ray, workers

    def _work(self, requests: list[Assignment]) -> dict[bytes, Work]:
        if len(requests) < SHARE:
            return super()._work(requests)
        shares = [requests[at :: self._workers] for at in range(self._workers)]
        sent = [
            self._remote.remote(
                msgspec.msgpack.encode(share), [_plain(self._source.rows(r.box)) for r in share]
            )
            for share in shares
        ]
        results: dict[bytes, Work] = {}
        for done in self._ray.get(sent):
            results |= msgspec.msgpack.decode(done, type=dict[bytes, Work])
        return results


def _train(requests: bytes, tables: list[Any]) -> bytes:
    """On a worker: assignments and their boxes' tables to results by id."""
    todo = msgspec.msgpack.decode(requests, type=list[Assignment])
    rows = {r.box: Table(*parts) for r, parts in zip(todo, tables, strict=True)}
    workshop = Workshop(_Rows(rows))
    for request in todo:
        workshop.begin(request)
    return msgspec.msgpack.encode({r.id: workshop.result(r) for r in todo})


def _plain(table: Table) -> tuple[Any, ...]:
    return table.X, table.y, table.columns, table.classes
