"""The optimisers a task may name."""

from collections.abc import Callable, Mapping

from edge_client.optimisers.gradients import (
    adam_method,
    adamw_method,
    lbfgs_method,
    sgd_method,
)
from edge_client.optimisers.method import Method, Plan
from edge_client.optimisers.simplex import cobyla_method
from edge_client.optimisers.spsa import qn_spsa_method, spsa_method
from proto.errors import LocalError

OPTIMISERS: Mapping[str, Callable[[Plan], Method]] = {
    "adam": adam_method,
    "adamw": adamw_method,
    "sgd": sgd_method,
    "lbfgs": lbfgs_method,
    "cobyla": cobyla_method,
    "spsa": spsa_method,
    "qn-spsa": qn_spsa_method,
}

BY_GRADIENT = ("adam", "adamw", "sgd", "lbfgs")
"""Those that never probe: an exact gradient is all they need."""


def method_of(name: str, plan: Plan) -> Method:
    """An optimiser by its name in the task. Raises LocalError for a name that is not known."""
    if name not in OPTIMISERS:
        raise LocalError(f"optimiser {name!r}; there is {', '.join(OPTIMISERS)}")
    return OPTIMISERS[name](plan)
