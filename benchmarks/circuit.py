"""How fast circuits train: against other libraries in the same process, and against the machine.

    python benchmarks/circuit.py --json

ZZ feature map, RealAmplitudes and parity, as in the peers' tutorials. All times are CPU time of one
thread, medians. Peers come with the extras aer and pennylane, qiskit-machine-learning and jax (see
constraints.txt); a figure whose peer is missing is null, with the reason.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

THREADS = ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA")
for library in THREADS:
    os.environ[f"{library}_NUM_THREADS"] = "1"

import circuit_peers as peers  # noqa: E402 - the libraries read the variables when imported
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from edge_client.circuit.adjoint import gradient  # noqa: E402
from edge_client.circuit.engine import Engine, Pass, encode, engine_of, forward  # noqa: E402
from edge_client.circuit.heads import head_of  # noqa: E402
from edge_client.circuit.program import Shuffle, compile_circuit  # noqa: E402
from proto.ansatz import assemble, parity, real_amplitudes, zz_feature_map  # noqa: E402
from proto.circuit import Circuit, Classifier  # noqa: E402
from proto.errors import ConfigError  # noqa: E402

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

EVALUATIONS = 60
ROWS = 160
AGREE = 1e-9
PAIRS = 5
DISTRIBUTIONS = (
    *("numpy", "scipy", "numba", "qiskit", "qiskit-aer", "qiskit-machine-learning"),
    *("pennylane", "pennylane-lightning", "jax"),
)
RATIOS = {
    "fit": "fit_ratio",
    "objective": "objective_ratio",
    "gradient": "gradient_ratio",
    "gradient_best": "gradient_ratio_best",
}
"""What each part's ratio is called."""


def paper(qubits: int) -> Circuit:
    gates = (*zz_feature_map(qubits), *real_amplitudes(qubits, 3))
    return assemble(qubits, gates, parity(qubits))


def cancer(rows: int) -> tuple[Floats, Labels]:
    """Breast cancer, four principal components in 0..1."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    X, y = load_breast_cancer(return_X_y=True)
    parts = PCA(4).fit_transform(StandardScaler().fit_transform(X))
    return MinMaxScaler().fit_transform(parts)[:rows], y[:rows]


def made_up(qubits: int, rows: int) -> tuple[Floats, Labels, Floats]:
    rng = np.random.default_rng(qubits * rows)
    x, y = rng.uniform(0, 1, (rows, qubits)), rng.integers(0, 2, rows)
    return x, y, rng.normal(size=4 * qubits)


class Ours:
    """Mean cross-entropy and its gradient, in float64, as a box computes them."""

    def __init__(self, circuit: Circuit, engine: Engine, x: Floats, y: Labels) -> None:
        self._engine, self._rows = engine, len(x)
        self.program = compile_circuit(circuit)
        self._encoded = encode(self.program, x)
        self._head = head_of(Classifier(circuit, "none", 2, "parity"))
        self._targets = np.eye(2)[:, y]

    def passed(self, w: Floats) -> Pass:
        return forward(self.program, w, self._encoded, self._engine)

    def objective(self, w: Floats) -> float:
        logs = self._head.log_chances({}, self.passed(w).values)
        return float(-(self._targets * logs).sum() / self._rows)

    def gradient(self, w: Floats) -> Floats:
        done = self.passed(w)
        chances = np.exp(self._head.log_chances({}, done.values))
        slopes, _ = self._head.pull({}, done.values, chances, self._targets)
        return gradient(done, slopes) / self._rows


def cpu_ms(work: Callable[[], object], least_s: float = 0.2) -> float:
    """Median CPU milliseconds of a call, over five batches of `least_s` or one call."""
    work()
    began = time.process_time()
    work()
    once = max(time.process_time() - began, 1e-6)
    count = max(1, int(least_s / once))
    times = []
    for _ in range(5 if once < 2 else 1):
        began = time.process_time()
        for _ in range(count):
            work()
        times.append((time.process_time() - began) / count)
    return 1000 * statistics.median(times)


def fit(engine: Engine, count: int) -> dict[str, Any]:
    """VQC.fit and ours by turns: the ratio's median, and that all losses are the same."""
    x, y = cancer(ROWS)
    start = np.random.default_rng(0).normal(size=16)

    def ours() -> list[float]:
        losses: list[float] = []
        own = Ours(paper(4), engine, x, y)

        def in_bits(w: Floats) -> float:
            losses.append(own.objective(w) / np.log(2))
            return losses[-1]

        peers.cobyla(in_bits, start, EVALUATIONS)
        return losses

    ours()
    pairs, apart = [], 0.0
    for _ in range(count):
        began = time.process_time()
        theirs = peers.vqc_fit(x, y, start, EVALUATIONS)
        between = time.process_time()
        mine = ours()
        pairs.append((between - began, time.process_time() - between))
        _check(len(theirs) == len(mine) == EVALUATIONS, "not as many evaluations")
        apart = max(apart, float(np.abs(np.subtract(theirs, mine)).max()))
    _check(apart < AGREE, f"losses differ by {apart}")
    return {
        "ratio": statistics.median(theirs / mine for theirs, mine in pairs),
        "peer_s": statistics.median(theirs for theirs, _ in pairs),
        "ours_ms": 1000 * statistics.median(mine for _, mine in pairs),
        "ratios": [theirs / mine for theirs, mine in pairs],
        "losses_differ_by": apart,
    }


def objective(engine: Engine) -> dict[str, Any]:
    """One evaluation at 4 qubits and 160 rows, against every way to do it there."""
    x, y, w = made_up(4, ROWS)
    own = Ours(paper(4), engine, x, y)
    ways = {
        "sampler_exact": partial(peers.sampler_objective, x, y, shots=False),
        "sampler_aer_1024_shots": partial(peers.sampler_objective, x, y, shots=True),
        "estimator_exact": partial(peers.estimator_objective, x, y),
    }
    found = {}
    for name, make in ways.items():
        theirs = make()
        apart = abs(theirs(w) - own.objective(w))
        _check("shots" in name or apart < AGREE, f"{name} differs by {apart}")
        found[name] = cpu_ms(partial(theirs, w))
    ours = cpu_ms(partial(own.objective, w))
    fastest = min(found, key=found.__getitem__)
    return {"ratio": found[fastest] / ours, "ours_ms": ours, "fastest": fastest, "peer_ms": found}


def full_gradient(make: Callable[..., peers.Gradient], engine: Engine) -> dict[str, Any]:
    """The gradient at 4 qubits and 1000 rows."""
    x, y, w = made_up(4, 1000)
    own, theirs = Ours(paper(4), engine, x, y), make(paper(4), x, y)
    apart = float(np.abs(theirs(w) - own.gradient(w)).max())
    _check(apart < AGREE, f"gradients differ by {apart}")
    peer, ours = cpu_ms(partial(theirs, w)), cpu_ms(partial(own.gradient, w))
    return {"ratio": peer / ours, "ours_ms": ours, "peer_ms": peer, "gradients_differ_by": apart}


def machine() -> tuple[float, float]:
    """What one thread does: flops/s in a matrix product, bytes/s in a copy."""
    a, b = np.ones((512, 512)), np.ones(2**23)
    c = np.empty_like(b)
    flops = 2 * 512**3 / (cpu_ms(lambda: a @ a) / 1000)
    return flops, 16 * len(b) / (cpu_ms(lambda: np.copyto(c, b)) / 1000)


def roofline_ms(own: Ours, done: Pass, limits: tuple[float, float], *, backward: bool) -> float:
    """The least time the picture taken needs: its flops at the peak, or each state moved once.

    A turn is 3 flops a real number. Backwards it is undone on ket and bra, and the slope costs 4.
    """
    size, columns = done.final.shape
    turns = sum(not isinstance(op, Shuffle) for op in own.program.body)
    width = size if done.operator else columns
    flops = 3 * turns * size * width + 3 * size * columns
    moved = 8 * size * (2 * columns + width)
    if backward:
        flops += (6 + 4) * turns * size * width + size * columns
        moved += 8 * size * (2 * columns + 2 * width)
    if done.operator:
        flops += 2 * size * size * (columns * (2 if backward else 1) + (size if backward else 0))
    return 1000 * max(flops / limits[0], moved / limits[1])


def table(engine: Engine, limits: tuple[float, float]) -> list[dict[str, Any]]:
    lines = []
    for qubits in (4, 6, 8, 10):
        for rows in (ROWS, 1000):
            x, y, w = made_up(qubits, rows)
            own = Ours(paper(qubits), engine, x, y)
            done = own.passed(w)
            line: dict[str, Any] = {"engine": engine.name, "qubits": qubits, "rows": rows}
            line["picture"] = "operator" if done.operator else "statevector"
            for name, work in (("objective", own.objective), ("gradient", own.gradient)):
                least = roofline_ms(own, done, limits, backward=name == "gradient")
                spent = cpu_ms(partial(work, w))
                line |= {f"{name}_ms": spent, f"{name}_by_roofline": spent / least}
            lines.append(line)
    return lines


def attempt(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return measure()
    except ImportError as error:
        return {"ratio": None, "reason": f"not installed: {error.name}"}


def parts(engine: Engine, limits: tuple[float, float], pairs: int) -> dict[str, Callable[[], Any]]:
    """What can be measured, by its name."""
    gradients = {"gradient": peers.lightning_gradient, "gradient_best": peers.jax_gradient}
    return {
        "fit": partial(attempt, partial(fit, engine, pairs)),
        "objective": partial(attempt, partial(objective, engine)),
        **{n: partial(attempt, partial(full_gradient, m, engine)) for n, m in gradients.items()},
        "table": partial(table, engine, limits),
    }


def _check(fine: bool, complaint: str) -> None:  # noqa: FBT001
    if not fine:
        raise SystemExit(f"not the same work: {complaint}")


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="numpy", help="numpy (the default) or numba")
    parser.add_argument(
        "--part", action="append", choices=(*RATIOS, "table"), help="this alone; may be repeated"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help="fits of both; 5 for a figure")
    parser.add_argument("--json", action="store_true", help="print one object")
    arguments = parser.parse_args()
    if arguments.pairs < 1:
        parser.error("--pairs is at least 1")
    warnings.simplefilter("ignore")  # the peers'
    try:
        engine = engine_of(arguments.engine)
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    limits = machine()
    known = parts(engine, limits, arguments.pairs)
    found = {name: known[name]() for name in arguments.part or known}
    lines = {"table": found.pop("table")} if "table" in found else {}
    result = _rounded(
        {
            **{RATIOS[name]: part["ratio"] for name, part in found.items()},
            "engine": engine.name,
            "details": found,
            **lines,
            "machine": {"gflops": limits[0] / 1e9, "gbytes_per_s": limits[1] / 1e9},
            "versions": _versions(),
        }
    )
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        for line in value if isinstance(value, list) else [value]:
            print(f"{name:20} {line}")


if __name__ == "__main__":
    main()
