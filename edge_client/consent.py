"""What a box agrees to do: pure checks of a task or an offer against its owner's policy."""

from edge_client.config import Policy
from proto.hybrid import Hybrid
from proto.messages import MOMENTS, Execution, Offer, Task
from proto.models import circuit_in, kind_of


def objection_to_task(task: Task, policy: Policy) -> str:
    """Why this box takes no part in the task, or nothing."""
    kind = kind_of(task.model)
    if kind not in policy.kinds:
        return f"this box's policy allows no task of the kind {kind}"
    circuit = circuit_in(task.model)
    qubits = circuit.circuit.qubits if circuit else 0
    if qubits > policy.max_qubits:
        return f"{qubits} qubits; this box's policy allows {policy.max_qubits}"
    if (steps := _most_steps(task)) > policy.max_steps:
        return f"{steps} steps a round; this box's policy allows {policy.max_steps}"
    if objection := _objection_to_backend(task.execution, policy):
        return objection
    if task.data.components and not policy.moments:
        return "it fits features from sums over the rows, which this box's policy keeps back"
    return ""


def _most_steps(task: Task) -> int:
    """Of a round, or of an adapter that the box trains as its own teacher."""
    model = task.model
    own = model.teacher_steps if isinstance(model, Hybrid) and model.teacher == "own" else 0
    return max(task.training.steps, own)


def _objection_to_backend(execution: Execution, policy: Policy) -> str:
    if execution.backend not in policy.backends:
        return f"backend {execution.backend}; this box's policy allows {', '.join(policy.backends)}"
    if execution.backend == "ibm" and not 0 < execution.shot_budget <= policy.max_shots:
        budget = execution.shot_budget or "no bound on the"
        return f"{budget} shots; this box's policy allows {policy.max_shots}"
    return ""


def objection_to_offer(offer: Offer, policy: Policy) -> str:
    """Why this box declines the offer, or nothing."""
    if offer.steps > policy.max_steps:
        return f"{offer.steps} steps; this box's policy allows {policy.max_steps}"
    if offer.seconds > policy.max_seconds:
        return f"{offer.seconds} s; this box's policy allows {policy.max_seconds}"
    if offer.kind == MOMENTS and not policy.moments:
        return "this box's policy keeps sums over its rows back"
    size = offer.model.size if offer.model else 0
    size += offer.features.size if offer.features else 0
    if size > policy.max_model_bytes:
        return f"a model of {size} bytes; this box's policy allows {policy.max_model_bytes}"
    return ""
