"""The file of a student that is no language model: read with care, written whole."""

from collections.abc import Collection
from pathlib import Path

import msgspec

from coordinator.selection.examples import STEP_CLASSES
from coordinator.selection.features import COLUMNS
from coordinator.selection.forest import Student
from coordinator.selection.weights import VERSION, Weights
from proto.errors import ConfigError
from proto.files import write_whole

AGAIN = "make it again by coordinator distill"
MAX_FILE = 256 * 1024


def read_weights(path: Path, names: Collection[str] = COLUMNS) -> Student:
    """Of these features, if of none other. Raises ConfigError that says what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ConfigError(f"{path} is larger than {MAX_FILE} bytes; it is no student")
        _of_this_version(path, msgspec.json.decode(data, type=_Stamp))
        weights: Student = msgspec.json.decode(data, type=Student)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {str(error).replace('`$.', '`')}") from None
    if isinstance(weights, Weights) and len(weights.steps) not in (0, STEP_CLASSES):
        raise ConfigError(
            f"{path}: it has {len(weights.steps)} heads of steps, where a student has one for each"
            f" of {STEP_CLASSES} classes or none; {AGAIN}"
        )
    if unknown := sorted(set(weights.features) - set(names)):
        raise ConfigError(f"{path}: features this release does not know: {', '.join(unknown)}")
    return weights


class _Stamp(msgspec.Struct):
    """What a student's file of any version says of itself."""

    format: str
    version: int


def _of_this_version(path: Path, stamp: _Stamp) -> None:
    """Raises ConfigError before anything else of another version's file is looked at."""
    if stamp.version != VERSION:
        raise ConfigError(
            f"{path}: a student of version {stamp.version}, this release reads version {VERSION};"
            f" {AGAIN}"
        )


def write_weights(path: Path, weights: Student) -> None:
    """Raises StorageError."""
    data = msgspec.json.encode(weights)
    if isinstance(weights, Weights):  # trees are not for reading
        data = msgspec.json.format(data, indent=2)
    write_whole(path, data + b"\n")
