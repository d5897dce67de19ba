"""What a command's exit code means, the same for every command."""

import sys
from collections.abc import Callable
from typing import NoReturn

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


def run_command(name: str, command: Callable[[], object]) -> NoReturn:
    """Run a command to its end; an expected error becomes one line and an exit code."""
    try:
        command()
    except QfleetError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - the command's last word
        sys.exit(exit_code(error))
    sys.exit(0)


def exit_code(error: QfleetError) -> int:
    return next(code for kind, code in CODES.items() if isinstance(error, kind))
