"""What circuits and adapters cost on this machine, measured once, in Raspberry Pi 4 core-seconds.

A circuit's cost is of a step of real training: its gradient, and what the optimiser makes of it.

CPU seconds are measured, not wall time, and the least of a few tries is taken: other processes only
ever add. Under a CPU quota it is their mean, for pauses are part of the work: after each one caches
are cold. How many Raspberry Pi 4 cores one core here is worth cannot be measured without one: on a
Pi 4 say 1; for x86-64 the default is a judgement, between phpbench (3.8 for an Intel N100, see
boards.toml) and the 4 to 6 that is usual for servers.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
from msgspec import structs

from coordinator.taskmodel import Model, classifier_of
from edge_client.circuit.classifier import classifier_model
from edge_client.dataset import load
from edge_client.train import Hyper, Rows, local_update
from firmware_sim import calibrate_adapter
from firmware_sim.boards import new_board
from firmware_sim.costs import Costs, Gradient, shape, shipped
from firmware_sim.limits import Limit, under
from proto.circuit import Classifier
from proto.errors import ConfigError

ROWS = (16, 64, 256)
TRIES, LEAST_S = 5, 0.02
STEPS = 10
QUBITS = (2, 4, 6, 8)
MODELS = (
    Model(ansatz="real-amplitudes"),
    Model(ansatz="re-uploading"),
    Model(ansatz="efficient-su2"),
    Model(ansatz="strongly-entangling"),
)
STARTED = "import edge_client.worker, edge_client.labour, edge_client.circuit.classifier"
MIB = 1024.0
"""Of what getrusage counts in (KiB)."""

Tell = Callable[[str], None]
Pick = Callable[[list[float]], float]


def measure(
    core: float,
    tell: Tell,
    *,
    adapter: bool = True,
    circuits: Mapping[str, Classifier] | None = None,
    paused: bool = False,
) -> Costs:
    """Measure this machine, with or without an adapter. `core`: see above. Raises ConfigError.

    These circuits by name, or those of all common models. `paused`: whether this process is under a
    quota.
    """
    _checked(core)
    tell("the training process")
    start, base = _started()
    tell("reading rows")
    read = _cell_s()
    found, general = {}, []
    for name, circuit in (circuits or _common()).items():
        tell(name)
        pick = fmean if paused else min
        times = [(rows, _step_s(circuit, rows, pick)) for rows in ROWS]
        found[shape(circuit)] = _line(times, core)
        general += [(circuit, rows, seconds) for rows, seconds in times]
    gate, amplitude = _by_gates(general)
    if adapter:
        tell("an adapter")
    return structs.replace(
        _with_adapter(calibrate_adapter.measure(tell) if adapter else None, core),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        core=core,
        start_s=round(start * core, 3),
        read_s=_short(read * core),
        gate_s=_short(gate * core),
        amplitude_s=_short(amplitude * core),
        base_mib=round(base, 1),
        circuits=found,
    )


def measure_as(
    board: str,
    core: float,
    tell: Tell,
    *,
    adapter: bool = True,
    circuits: Mapping[str, Classifier] | None = None,
) -> Costs:
    """As `measure`, under the CPU quota that the engine `processes` gives a board.

    The less of a core it has, the colder its caches. Raises ConfigError, and LocalError where there
    are no quotas.
    """
    profile = new_board(board).profile
    with under("qfleet-calibrate", Limit(profile.speed / _checked(core), 2048)):
        return measure(core, tell, adapter=adapter, circuits=circuits, paused=True)


def _checked(core: float) -> float:
    if not core > 0:
        raise ConfigError(f"core is {core:g}; accepted: a number above 0")
    return core


def _with_adapter(found: calibrate_adapter.Found | None, core: float) -> Costs:
    """The shipped costs, with what an adapter was found to cost."""
    if found is None:
        return shipped()
    return structs.replace(
        shipped(),
        adapter_start_s=_short(found.start_s * core),
        trunk_row_s=_short(found.trunk_row_s * core),
        adapter_row_s=_short(found.row_s * core),
        adapter_mib=round(found.mib, 1),
    )


def _common() -> dict[str, Classifier]:
    return {
        f"{model.ansatz}, {qubits} qubits": classifier_of(model, qubits, 2)
        for model in MODELS
        for qubits in QUBITS
    }


def _step_s(circuit: Classifier, rows: int, pick: Pick) -> float:
    """CPU seconds of one step of training."""
    model, rng = classifier_model(circuit), np.random.default_rng(rows)
    arrays = model.init(rng)
    z = rng.normal(size=(rows, circuit.circuit.features)).astype(np.float32)
    y = rng.integers(0, circuit.classes, rows)
    nothing = Rows(z, y, z[:0], y[:0])
    few, more = (Hyper(STEPS * times, 0.1) for times in (1, 3))
    spent = [cpu_s(partial(local_update, model, arrays, nothing, h), pick) for h in (few, more)]
    return (spent[1] - spent[0]) / (more.steps - few.steps)


def cpu_s(work: Callable[[], object], pick: Pick = min) -> float:
    """CPU seconds of one call, which `pick` makes of a few tries."""
    work()
    found = []
    for _ in range(TRIES):
        start, calls = time.process_time(), 0
        while (spent := time.process_time() - start) < LEAST_S:
            work()
            calls += 1
        found.append(spent / calls)
    return pick(found)


def _line(times: list[tuple[int, float]], core: float) -> Gradient:
    """The line of least relative error through (rows, seconds), nowhere below zero."""
    rows, seconds = np.array(times, float).T
    design = np.stack([1 / seconds, rows / seconds], axis=1)
    constant, slope = np.linalg.lstsq(design, np.ones(len(rows)), rcond=None)[0]
    return Gradient(_short(max(constant, seconds.min() / 10) * core), _short(max(slope, 0) * core))


def _by_gates(measured: list[tuple[Classifier, int, float]]) -> tuple[float, float]:
    """Seconds a gate, and a gate and amplitude of each row, of least relative error."""
    gates = np.array([len(c.circuit.gates) for c, _, _ in measured], float)
    amplitudes = np.array([rows * 2.0**c.circuit.qubits for c, rows, _ in measured])
    seconds = np.array([s for _, _, s in measured])
    design = np.stack([gates, gates * amplitudes], axis=1) / seconds[:, None]
    gate, amplitude = np.linalg.lstsq(design, np.ones(len(seconds)), rcond=None)[0]
    return float(max(gate, 0.0)), float(max(amplitude, 0.0))


def _started() -> tuple[float, float]:
    """(CPU seconds, MiB) of a process that has loaded what training a circuit needs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    told = (
        f"{STARTED}\nimport resource, time\n"
        "print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    tries = []
    for _ in range(3):
        out = subprocess.run(
            [sys.executable, "-P", "-c", told], env=environment, capture_output=True, check=True
        )
        seconds, kib = map(float, out.stdout.split())
        tries.append((seconds, kib / MIB))
    return min(tries)


def _cell_s() -> float:
    """CPU seconds of reading one cell of a .csv file."""
    rows, columns = 400, 6
    lines = [",".join(["0.123456789"] * columns + ["a" if n % 2 else "b"]) for n in range(rows)]
    head = ",".join([*"abcdef", "label"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_text("\n".join([head, *lines]))
        return cpu_s(lambda: load(str(path))) / (rows * (columns + 1))


def _short(value: float) -> float:
    """Three digits: no more is known."""
    return float(f"{value:.3g}")


def text(costs: Costs) -> str:
    """A file of costs, in TOML."""
    plain = structs.asdict(costs)
    lines = [
        f"{key} = {value!r}".replace("'", '"') for key, value in plain.items() if key != "circuits"
    ]
    tables = [
        f'"{name}" = {{ step_s = {g.step_s!r}, row_s = {g.row_s!r} }}'
        for name, g in costs.circuits.items()
    ]
    return "\n".join([*lines, "", "[circuits]", *tables, ""])
