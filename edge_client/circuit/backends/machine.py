"""What every backend is: a function from bound angles to expectation values."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proto.errors import ConfigError, LocalError

Float64s = NDArray[np.float64]


class Measured(NamedTuple):
    """What one job gave: values (points, observables) in -1..1, and its times in seconds."""

    values: Float64s
    queued: float
    """Waiting for the machine; 0 where there is no queue."""
    ran: float


Machine = Callable[[Float64s, int, int], Measured]
"""One job. Of angles (points, angles) in radians, shots for each point (0: exact) and a seed.

Raises JobFailed for what may be tried again.
"""


class JobFailed(LocalError):
    """A job gave no result, but may give one when it is tried again."""


class NotHere(ConfigError):
    """A library or machine this box lacks. Its text names no file or cell: it may leave the box."""


LIBRARIES = {
    "aer": ("qiskit_aer", "aer"),
    "ibm": ("qiskit_ibm_runtime", "ibm"),
    "pennylane": ("pennylane", "pennylane"),
}
"""What a backend imports, and the extra that brings it."""


def check_installed(backend: str) -> None:
    """Raises NotHere, naming what to install, unless the backend's library is here."""
    family = backend.partition(":")[0]
    if family in LIBRARIES:
        library, extra = LIBRARIES[family]
        if importlib.util.find_spec(library) is None:
            raise NotHere(_advice(backend, library, extra))


def load(backend: str, module: str) -> Any:
    """A module of a backend's library, imported late. Raises NotHere."""
    library, extra = LIBRARIES[backend]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotHere(_advice(backend, library, extra)) from error


def _advice(backend: str, library: str, extra: str) -> str:
    return f"the backend {backend} needs {library}: pip install 'qfleet[{extra}]' on this box"
