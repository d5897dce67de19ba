"""Which backends, shots and optimisers go together: what no box could carry out is not offered."""

from proto.circuit import classifier_layout
from proto.errors import ConfigError
from proto.messages import Execution, Task
from quantization.arrays import size


def check_execution(task: Task) -> None:
    """Raises ConfigError that names the keys to change."""
    if fault := _backend_fault(task.execution) or _optimiser_fault(task):
        raise ConfigError(fault)


def _backend_fault(execution: Execution) -> str:
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
    if execution.simulated_rounds and backend == "numpy" and not shots:
        return "all rounds are simulated exactly: leave model.simulated_rounds out, or set model.shots"
    return ""


def _optimiser_fault(task: Task) -> str:
    name, training = task.training.optimiser, task.training
    if name in ("lbfgs", "cobyla") and training.batch:
        return f"training.optimiser {name} needs the same rows at each step: training.batch = 0"
    if name == "lbfgs" and task.execution.shots:
        return "training.optimiser lbfgs needs exact values: model.shots = 0, or take spsa"
    if training.personal_head and task.model.head == "parity":
        return "a parity has no head to keep: leave training.personal_head out"
    needed = size(classifier_layout(task.model)) + 2
    if name == "cobyla" and training.steps < needed:
        return f"training.optimiser cobyla needs training.steps of at least {needed} for this model"
    return ""
