"""A real box that sends spoilt updates; started by a script in the engine `processes`."""

import argparse
from functools import partial
from pathlib import Path
from typing import get_args

from edge_client.agent import run
from edge_client.requests import Result
from edge_client.worker import Deliver, Worker
from firmware_sim.poison import What, poisoned
from proto.exits import run_command


def spoiling(what: What, deliver: Deliver, linger: float) -> Worker:
    """A box's place to train, whose results are as of a broken or hostile client."""

    def spoilt(result: Result) -> None:
        deliver(poisoned(result, what))

    return Worker(spoilt, linger)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("what", choices=get_args(What))
    arguments = parser.parse_args()
    run_command("edge-client", lambda: run(arguments.home, partial(spoiling, arguments.what)))


if __name__ == "__main__":
    main()
