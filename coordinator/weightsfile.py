"""The file of a linear student: read with care, written whole."""

from pathlib import Path

import msgspec

from coordinator.selection.features import FEATURES
from coordinator.selection.weights import Weights
from proto.errors import ConfigError
from proto.files import write_whole

MAX_FILE = 64 * 1024


def read_weights(path: Path) -> Weights:
    """Raises ConfigError that says what is wrong with the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ConfigError(f"{path} is larger than {MAX_FILE} bytes; it is no linear student")
        weights = msgspec.json.decode(data, type=Weights)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {str(error).replace('`$.', '`')}") from None
    if unknown := sorted(set(weights.features) - set(FEATURES)):
        raise ConfigError(f"{path}: features this release does not know: {', '.join(unknown)}")
    return weights


def write_weights(path: Path, weights: Weights) -> None:
    """Raises StorageError."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(weights), indent=2) + b"\n")
