"""A classifier trained on values that a machine measures: gradients by parameter shift.

Only the angles need the machine. The head is trained classically with exact gradients, for free.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_client.circuit.aims import Blend, aim
from edge_client.circuit.backends.jobs import Jobs
from edge_client.circuit.backends.simulated import fidelity
from edge_client.circuit.backends.unrolled import Unrolled
from edge_client.circuit.classifier import SPREAD, PreparedRows, apart, squashed, widened
from edge_client.circuit.heads import Head, Wide, head_of
from edge_client.circuit.program import Float64s, compile_circuit
from edge_client.model import Labels, Model, Probe, Probing
from proto.circuit import Classifier, classifier_layout
from quantization.arrays import Array, Arrays, draw


def measured_model(
    classifier: Classifier, unrolled: Unrolled, jobs: Jobs, blend: Blend | None = None
) -> Model[PreparedRows]:
    """The model of a classifier whose values come from `jobs`, one job for each thing asked."""
    bench = _Bench(classifier, unrolled, jobs, head_of(classifier), blend)

    def init(rng: Generator) -> dict[str, Array]:
        return draw(classifier_layout(classifier), SPREAD, rng)

    def prepare(z: Array) -> PreparedRows:
        z, taught = apart(classifier, z, blend)
        return PreparedRows(squashed(classifier, z), None, taught)

    layout = classifier_layout(classifier)
    exact = tuple(name for name, _ in layout if name != "angles")
    probing = Probing(exact, bench.probe, bench.overlap)
    return Model(init, prepare, bench.loss_and_grad, bench.predict, probing)


@dataclass(frozen=True, eq=False, slots=True)
class _Bench:
    classifier: Classifier
    unrolled: Unrolled
    jobs: Jobs
    head: Head
    blend: Blend | None

    def loss_and_grad(
        self, arrays: Arrays, rows: PreparedRows, labels: Labels
    ) -> tuple[float, dict[str, Array]]:
        """One job: every row at the angles themselves and at every shift of them."""
        wide = widened(arrays)
        angles = self.unrolled.angles(rows.x, wide["angles"][None])[0]
        values = self.jobs.run(self.unrolled.shifted(angles))
        loss, slopes, own = self._learn(wide, values[0], rows, labels)
        grads = {"angles": self.unrolled.gradient(slopes, values), **own}
        mean = {name: (grads[name] / rows.rows).astype(np.float32) for name in arrays}
        return loss, mean

    def probe(self, points: Sequence[Arrays], rows: PreparedRows, labels: Labels) -> list[Probe]:
        """One job: every row at each point."""
        wide = [widened(arrays) for arrays in points]
        sets = np.stack([arrays["angles"] for arrays in wide])
        values = self.jobs.run(self.unrolled.angles(rows.x, sets))
        probes = []
        for arrays, seen in zip(wide, values, strict=True):
            loss, _, own = self._learn(arrays, seen, rows, labels)
            mean = {name: (grad / rows.rows).astype(np.float32) for name, grad in own.items()}
            probes.append(Probe(loss, mean))
        return probes

    def predict(self, arrays: Arrays, rows: PreparedRows) -> NDArray[np.float64]:
        wide = widened(arrays)
        values = self.jobs.run(self.unrolled.angles(rows.x, wide["angles"][None]))[0]
        return np.exp(self.head.log_chances(wide, values.T)).T

    def overlap(self, one: Arrays, other: Arrays, rows: PreparedRows) -> float:
        """Simulated here: no machine is asked, no shot is spent."""
        sets = np.stack([widened(arrays)["angles"] for arrays in (one, other)])
        first, second = self.unrolled.angles(rows.x, sets)
        return fidelity(compile_circuit(self.unrolled.circuit), first, second)

    def _learn(
        self, wide: Wide, values: Float64s, rows: PreparedRows, labels: Labels
    ) -> tuple[float, Float64s, dict[str, Float64s]]:
        """Mean loss, its summed slopes (rows, observables) by the values, the head's gradient."""
        toward = aim(labels, (rows.rows, self.classifier.classes), rows.taught, self.blend)
        log_chances = self.head.log_chances(wide, values.T)
        loss, falls = toward.loss(log_chances)
        slopes, own = self.head.pull(wide, values.T, np.exp(log_chances), falls)
        return loss / len(values), slopes.T, own
