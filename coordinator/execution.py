"""Which backends, shots and optimisers go together: what no box could carry out is not offered."""

from proto.adapter import Adapter
from proto.errors import ConfigError
from proto.messages import Task
from proto.models import circuit_in, kind_of, model_layout
from quantization.arrays import size


def check_execution(task: Task) -> None:
    """Raises ConfigError that names the keys to change."""
    for look in FAULTS:
        if fault := look(task):
            raise ConfigError(fault)


def _backend_fault(task: Task) -> str:
    execution = task.execution
    backend, shots = execution.backend, execution.shots
    if execution.noise and backend != "aer":
        return f'model.noise is for model.backend = "aer", not "{backend}"'
    if execution.noise and not shots:
        return "model.noise is drawn: set model.shots"
    if backend == "ibm" and not shots:
        return 'model.backend = "ibm" gives no exact values: set model.shots'
    if backend == "ibm" and not execution.shot_budget:
        return 'model.backend = "ibm" costs money: set model.shot_budget, the most a box may spend'
    if execution.shot_budget and not shots:
        return "model.shot_budget without model.shots bounds nothing"
    return ""


def _simulated_fault(task: Task) -> str:
    execution = task.execution
    if execution.simulated_rounds and execution.backend == "numpy" and not execution.shots:
        return "all rounds are simulated exactly: model.simulated_rounds is for model.shots"
    return ""


def _adapter_fault(task: Task) -> str:
    name, training = task.training.optimiser, task.training
    if kind_of(task.model) == "adapter" and name not in ("adam", "adamw", "sgd"):
        return f"training.optimiser {name} trains circuits: adamw, adam or sgd for an adapter"
    if kind_of(task.model) == "adapter" and not training.batch:
        return "training.batch is at least 1 for an adapter: all rows at once take too much memory"
    if isinstance(task.model, Adapter) and task.model.combine == "stacked" and training.feedback:
        return 'training.feedback is for model.combine "padded": stacking turns what was owed'
    if training.warmup > training.steps or (training.warmup and name != "adamw"):
        return "training.warmup is for training.optimiser adamw, and at most training.steps"
    return ""


def _head_fault(task: Task) -> str:
    circuit = circuit_in(task.model)
    if circuit is None:
        return "training.personal_head is for circuits: model.personal is what adapters have"
    if circuit.head == "parity":
        return "a parity has no head to keep: leave training.personal_head out"
    return ""


def _feedback_fault(task: Task) -> str:
    if task.training.feedback and task.training.bits == 2:  # noqa: PLR2004
        return "training.feedback with training.bits = 2 would owe more and more: 4 bits or 8"
    return ""


def _optimiser_fault(task: Task) -> str:
    name, training = task.training.optimiser, task.training
    if name in ("lbfgs", "cobyla") and training.batch:
        return f"training.optimiser {name} needs the same rows at each step: training.batch = 0"
    if training.personal_head and (fault := _head_fault(task)):
        return fault
    if name == "lbfgs" and task.execution.shots:
        return "training.optimiser lbfgs needs exact values: model.shots = 0, or take spsa"
    needed = size(model_layout(task.model)) + 2
    if name == "cobyla" and training.steps < needed:
        return f"training.optimiser cobyla needs training.steps of at least {needed} for this model"
    return ""


FAULTS = (_backend_fault, _simulated_fault, _adapter_fault, _feedback_fault, _optimiser_fault)
