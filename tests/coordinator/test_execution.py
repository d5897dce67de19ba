"""A task no box could carry out is refused before it is offered, with the keys to change."""

import pytest

from coordinator.taskfile import read, task_of
from edge_client.config import Policy
from edge_client.consent import objection_to_task
from proto.errors import ConfigError

GOOD = """
job = "wine"
[data]
classes = ["red", "white"]
columns = ["a", "b", "c", "d"]
"""


def task(folder, model: str = "", training: str = ""):
    path = folder / "task.toml"
    path.write_text(f"{GOOD}[model]\n{model}\n[training]\n{training}\n")
    return task_of(read(path), "fleet", 1)


@pytest.mark.parametrize(
    ("model", "training", "said"),
    [
        ('backend = "abacus"', "", r"regex.*`model.backend`"),
        ('backend = "pennylane:"', "", r"regex.*`model.backend`"),
        ("shots = -1", "", r">= 0.*`model.shots`"),
        ('noise = "FakeManilaV2"\nshots = 9', "", 'for model.backend = "aer", not "numpy"'),
        ('backend = "aer"\nnoise = "FakeManilaV2"', "", "noise is drawn: set model.shots"),
        ('backend = "aer"\nshots = 9\nnoise = "../x"', "", "cannot be offered"),
        ('backend = "ibm"', "", "no exact values: set model.shots"),
        ('backend = "ibm"\nshots = 9', "", "costs money: set model.shot_budget"),
        ("shot_budget = 9", "", "without model.shots bounds nothing"),
        ("simulated_rounds = 3", "", "model.simulated_rounds is for model.shots"),
        ("simulated_rounds = 15\nshots = 9", "", "leaves model.backend none of rounds.count"),
        ('ansatz = "paper"', "personal_head = true", "leave training.personal_head out"),
        ("", 'optimiser = "newton"', r"enum value 'newton'.*`training.optimiser`"),
        ("", 'optimiser = "lbfgs"\nbatch = 9', "lbfgs needs the same rows.*batch = 0"),
        ("shots = 9", 'optimiser = "lbfgs"', "lbfgs needs exact values"),
        ("", 'optimiser = "cobyla"\nsteps = 22', "cobyla needs training.steps of at least 23"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_keys(tmp_path, model, training, said):
    with pytest.raises(ConfigError, match=said):
        task(tmp_path, model, training)


def test_what_goes_together_is_in_the_signed_task(tmp_path):
    made = task(
        tmp_path,
        'backend = "aer"\nshots = 64\nnoise = "FakeManilaV2"\nshot_budget = 5000',
        'optimiser = "spsa"',
    )
    found = made.execution
    assert (found.backend, found.shots, found.noise) == ("aer", 64, "FakeManilaV2")
    assert (found.shot_budget, made.training.optimiser) == (5000, "spsa")


@pytest.mark.parametrize(
    ("model", "policy", "said"),
    [
        ('backend = "aer"', Policy(), ""),
        ('backend = "pennylane:lightning.qubit"', Policy(), ""),
        ('backend = "pennylane:qiskit.aer"', Policy(), "this box's policy allows numpy, aer"),
        ('backend = "aer"', Policy(backends=("numpy",)), "backend aer; this box's policy allows"),
        ('backend = "ibm"\nshots = 9\nshot_budget = 99', Policy(), "backend ibm; this box's"),
    ],
)
def test_a_boxes_owner_says_where_circuits_may_run(tmp_path, model, policy, said):
    objection = objection_to_task(task(tmp_path, model), policy)
    assert said in objection
    assert bool(objection) == bool(said)


def test_a_boxes_owner_bounds_what_a_real_machine_may_cost(tmp_path):
    made = task(tmp_path, 'backend = "ibm"\nshots = 9\nshot_budget = 1000')
    assert objection_to_task(made, Policy(backends=("ibm",), max_shots=1000)) == ""
    mean = Policy(backends=("ibm",), max_shots=999)
    assert "1000 shots; this box's policy allows 999" in objection_to_task(made, mean)
