"""What a command's exit code means, the same for every command."""

from proto.errors import (
    ConfigError,
    LocalError,
    QfleetError,
    RemoteError,
    StorageError,
    TransportError,
)

CODES: dict[type[QfleetError], int] = {
    ConfigError: 2,
    TransportError: 3,
    RemoteError: 4,
    StorageError: 5,
    LocalError: 6,
    QfleetError: 7,
}
"""0 success; 1 a fault in Qfleet itself; the rest by whose fault it is, most special first."""


def exit_code(error: QfleetError) -> int:
    return next(code for kind, code in CODES.items() if isinstance(error, kind))
