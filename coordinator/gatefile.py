"""An ansatz drawn elsewhere: the file of gates that `edge_client.circuit.importing` saves."""

from pathlib import Path

import msgspec

from proto.circuit import MAX_GATES, Gate
from proto.errors import ConfigError

MAX_FILE = 4 * 2**20


def read_gates(path: Path) -> tuple[Gate, ...]:
    """Gates, each [name, [wires], [source, index, other, scale]]. Raises ConfigError."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise ConfigError(f"{path} is larger than {MAX_FILE} bytes; it is no list of gates")
        gates = msgspec.json.decode(path.read_bytes(), type=tuple[Gate, ...])
    except OSError as error:
        raise ConfigError(f"model.gates: cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"model.gates: {path}: {error}") from None
    if not 1 <= len(gates) <= MAX_GATES:
        raise ConfigError(f"model.gates: {path} holds {len(gates)} gates, not 1 to {MAX_GATES}")
    return gates
