"""The file of a student that is no language model: read with care, written whole."""

from pathlib import Path

import msgspec

from coordinator.selection.features import COLUMNS
from coordinator.selection.forest import Student
from coordinator.selection.weights import Weights
from proto.errors import ConfigError
from proto.files import write_whole

MAX_FILE = 256 * 1024


def read_weights(path: Path) -> Student:
    """Raises ConfigError that says what is wrong with the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ConfigError(f"{path} is larger than {MAX_FILE} bytes; it is no student")
        weights: Student = msgspec.json.decode(data, type=Student)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {str(error).replace('`$.', '`')}") from None
    if unknown := sorted(set(weights.features) - set(COLUMNS)):
        raise ConfigError(f"{path}: features this release does not know: {', '.join(unknown)}")
    return weights


def write_weights(path: Path, weights: Student) -> None:
    """Raises StorageError."""
    data = msgspec.json.encode(weights)
    if isinstance(weights, Weights):  # trees are not for reading
        data = msgspec.json.format(data, indent=2)
    write_whole(path, data + b"\n")
