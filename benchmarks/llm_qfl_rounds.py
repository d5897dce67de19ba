"""A fleet's rounds in one process, by the code that runs in the field, and what they cost.

Real: training, packing, sealing, folding, planning, regulators, stopping. Modelled: time alone, by
`Clock`, since ten Raspberry Pis were not at hand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from coordinator import folding
from coordinator.jobstate import Folded, JobState, Rules, new_job
from coordinator.selection.candidates import Candidate, standings
from coordinator.selection.plan import plan
from coordinator.selection.request import Pace, Request
from coordinator.selection.stopping import enough, progressed
from coordinator.updates import Part
from edge_client.circuit.backends.chosen import blend_of, circuit_of
from edge_client.circuit.classifier import classifier_model, with_teacher
from edge_client.hybrid.temperature import loss as taught_loss
from edge_client.train import Hyper, Rows, evaluate, local_update
from proto.codec import encode
from proto.identity import Identity, task_id
from proto.messages import TRAIN, BlobRef, Metrics, Offer, Task, Update
from proto.sealing import Key, seal
from quantization.arrays import Array, delta
from quantization.pack import pack, unpack
from quantization.scheme import EXACT, Scheme

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
EVALUATIONS_A_GRADIENT = 33
"""One loss and two shifts of 16 angles: what a gradient costs where it is measured."""


@dataclass(frozen=True, eq=False, slots=True)
class Box:
    """Rows of one client: features, labels and its teacher's log-chances; how fast its board is."""

    name: str
    z: Array
    y: Labels
    taught: Floats
    validation_z: Array
    validation_y: Labels
    validation_taught: Floats
    speed: float
    """Of one core, a Raspberry Pi 4's being 1."""


@dataclass(frozen=True, eq=False, slots=True)
class Case:
    """One seed's fleet, and rows that none of its clients holds."""

    seed: int
    boxes: tuple[Box, ...]
    test_z: Array
    test_y: Labels
    baselines: dict[str, float]


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds of a client's round, from its start to its update's arrival.

    A circuit is run once for each row and point (EVALUATIONS_A_GRADIENT points a step) and takes
    `circuit_s` on a Raspberry Pi 4 core, the time of a simulator with shots; a process is started
    in `start_s`, also by that core; the radio takes `link_s`.
    """

    circuit_s: float = 0.001
    start_s: float = 2.0
    link_s: float = 0.6

    def seconds(self, box: Box, steps: int) -> float:
        held = 2 * len(box.y) + len(box.validation_y)
        circuits = steps * len(box.y) * EVALUATIONS_A_GRADIENT + held
        return (self.start_s + circuits * self.circuit_s) / box.speed + self.link_s


class Point(NamedTuple):
    """What had been spent when a round was over, and how good its model is.

    idle_s: of clients that were asked, waiting for the slowest; all_idle_s: of all clients.
    """

    loss: float
    accuracy: float
    gradients: int
    bytes: int
    idle_s: float
    all_idle_s: float
    busy_s: float
    span_s: float


class Order(NamedTuple):
    """What one client is asked in a round: the packed model it starts from, and how many steps."""

    model: bytes
    steps: int
    round: int
    seed: int


class Spent(NamedTuple):
    """One client's round."""

    part: Part
    metrics: Metrics
    gradients: int
    bytes: int
    seconds: float


def rounds(case: Case, task: Task, rules: Rules, clock: Clock) -> tuple[list[Point], str]:
    """A job from its first model until it stops: a point for each round, and why it ended."""
    model, state = folding.first_model(task, case.seed), new_job(task.job, rules, moments=False)
    boxes = {box.name: box for box in case.boxes}
    told: dict[str, Metrics] = {}
    last: dict[str, int] = {}
    points, total = list[Point](), np.zeros(6)
    while not (reason := enough(state) if points else ""):
        state = replace(state, round=len(points) + 1, turn=len(points) + 1)
        work = {}
        for box, steps in _asked(state, boxes, told, last):
            order = Order(model, steps, state.round, rules.seed)
            work[box] = _work(task, boxes[box], order, clock)
        told |= {box: spent.metrics for box, spent in work.items()}
        last |= dict.fromkeys(work, state.turn)
        result = folding.fold(task, TRAIN, model, (spent.part for spent in work.values()))
        model, figures = result.data, result.figures
        folded = (figures.validation_loss, figures.validation_accuracy, figures.teacher_loss)
        state = progressed(state, Folded(*folded, figures.distance))
        total += _cost(list(work.values()), len(boxes))
        gradients, sent, *times = total.tolist()
        quality = judged(case, task, model)
        points.append(Point(*quality, int(gradients), int(sent), *times))
    return points, reason


def judged(case: Case, task: Task, packed: bytes) -> tuple[float, float]:
    """Mean loss over all clients' validation rows, and accuracy on the test rows."""
    circuit = circuit_of(task)
    model, layout = classifier_model(circuit), folding.layout_of(task)
    arrays = unpack(packed, layout, EXACT)
    z = np.concatenate([box.validation_z for box in case.boxes])
    y = np.concatenate([box.validation_y for box in case.boxes])
    tested = evaluate(model, arrays, case.test_z, case.test_y)
    return evaluate(model, arrays, z, y).loss, tested.accuracy


def _asked(
    state: JobState, boxes: dict[str, Box], told: dict[str, Metrics], last: dict[str, int]
) -> Iterator[tuple[str, int]]:
    rules = state.rules
    stand = standings(told, {name: len(box.y) for name, box in boxes.items()})
    candidates = [
        Candidate(name, len(box.y), last.get(name, 0), last=stand.get(name))
        for name, box in boxes.items()
    ]
    pace = Pace(rules.steps, state.round, rules.regulation)
    chosen = plan(candidates, Request(rules.scorer, rules.cohort, rules.seed, state.turn, pace))
    return ((box, chosen.steps.get(box, rules.steps)) for box in chosen.cohort)


def _work(task: Task, box: Box, order: Order, clock: Clock) -> Spent:
    layout, training, blend = folding.layout_of(task), task.training, blend_of(task)
    model, steps = classifier_model(circuit_of(task), blend=blend), order.steps
    arrays = unpack(order.model, layout, EXACT)
    z, held = box.z, box.validation_z
    if blend:
        z, held = with_teacher(z, box.taught), with_teacher(held, box.validation_taught)
    rate = training.learning_rate * training.decay ** (order.round - 1)
    done = local_update(model, arrays, Rows(z, box.y, held, box.validation_y), Hyper(steps, rate))
    rng = np.random.default_rng([order.seed, order.round, int(box.name[3:])])
    payload = pack(delta(done.arrays, arrays), layout, Scheme(training.bits, training.block), rng)
    metrics = Metrics(
        first_loss=done.first_loss,
        last_loss=done.last_loss,
        validation_loss=done.validation_loss or 0.0,
        validation_accuracy=done.validation_accuracy or 0.0,
        validation_rows=len(box.validation_y),
        steps=steps,
        gradients=done.gradients,
        teacher_loss=taught_loss(box.validation_taught, box.validation_y),
    )
    sent = frames(task, order, payload, metrics)
    part = Part(len(box.y), payload, metrics)
    return Spent(part, metrics, done.gradients, sent, clock.seconds(box, steps))


def frames(task: Task, order: Order, payload: bytes, metrics: Metrics) -> int:
    """Bytes of the sealed offer and the sealed, signed update of one client's round."""
    ref = BlobRef(digest=bytes(32), address=bytes(16), size=len(order.model) + 16)
    offer = Offer(
        job=task.job,
        round=order.round,
        turn=order.round,
        kind=TRAIN,
        task=task_id(encode(task)),
        key=bytes(32),
        model=ref,
        features=ref,
        inline=bytes(len(order.model) + 16),
        steps=order.steps,
        seconds=120,
        seed=0,
    )
    update = Update(
        id=bytes(16),
        turn=order.round,
        model=bytes(32),
        rows=100,
        payload=payload,
        metrics=metrics,
    )
    down = seal(encode(offer), bytes(8), _KEY, order.round, None)
    up = seal(encode(update), bytes(8), _KEY, order.round, _SIGNER)
    return len(down) + len(up)


_SIGNER = Identity.generate()
_KEY = Key(bytes(32))


def _cost(work: Sequence[Spent], fleet: int) -> Floats:
    """Gradients, bytes, idle, all idle, busy and elapsed seconds of one round."""
    slowest = max(spent.seconds for spent in work)
    busy = sum(spent.seconds for spent in work)
    return np.array(
        [
            sum(spent.gradients for spent in work),
            sum(spent.bytes for spent in work),
            slowest * len(work) - busy,
            slowest * fleet - busy,
            busy,
            slowest,
        ]
    )
