"""The first moments of a broker's process: tie its life to ours, then become the broker.

Run as `python -m coordinator.broker_child PARENT_PID PROGRAM ARGUMENT...`. A signal set before
exec survives it, so any program can be tied this way, without the dangers of Python code between
fork and exec in a process that has threads.
"""

import ctypes
import logging
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_FEWEST = 3
IOTCORE = "iotcore"


def main() -> None:
    """Become PROGRAM, which the kernel ends with our parent, however that one ends (Linux)."""
    if len(sys.argv) < _FEWEST:
        sys.exit("usage: python -m coordinator.broker_child PARENT_PID PROGRAM ARGUMENT...")
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # It may have died before the line above.
    if os.getppid() != parent:
        sys.exit("the process that started this broker is gone")
    if command[0] == IOTCORE:
        _serve_iotcore(command[1])
    else:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def _serve_iotcore(config: str) -> None:
    from iotcore.iotcore import IotCoreBroker  # noqa: PLC0415 - 14 MB that only this child needs

    logging.basicConfig(level="WARNING")
    # It wraps each message in an error-level span, which would become a log line.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    # Its own loop is deaf to Python's handlers; the default action ends the process.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    IotCoreBroker(config_path=config).run_forever()


if __name__ == "__main__":
    main()
