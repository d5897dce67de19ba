"""The daemon on a box: one loop over what comes from the broker, the worker and the clock.

`python -m edge_client.agent --home DIR`; `edge-client start` becomes this process.
"""

import argparse
import logging
import signal
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_client import config, readings
from edge_client.box import Box, Setting
from edge_client.membership import Membership, load_member
from edge_client.requests import Result
from edge_client.worker import Deliver, Worker
from proto.exits import run_command
from proto.mqtt import BrokerUrl, MqttPort, MqttSettings
from proto.transport import Incoming
from proto.trust import foreign_trust, pinned_context

LONG = 3600.0

logger = logging.getLogger("edge_client")


def trust_of(member: Membership, url: BrokerUrl, ca: str) -> ssl.SSLContext | None:
    """How this box knows its broker: by the fleet's CA, a CA of the owner's, or the system's."""
    if not url.tls:
        return None
    return pinned_context(member.ca) if member.ca else foreign_trust(ca)


def url_of(member: Membership) -> BrokerUrl:
    """The broker with this box's own account."""
    url = BrokerUrl.parse(member.url)
    if member.ca:
        return BrokerUrl(url.host, url.port, url.tls, member.username, member.password)
    return url


class Loop:
    """The box's one thread: what came from the broker, the worker or a signal, and the clock."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._over = False
        self.error: Exception | None = None

    def take(self, thing: Incoming | Result | None) -> None:
        """None is the wish to stop."""
        if self._over:
            return
        try:
            if thing is None:
                self._stop()
            else:
                self._box.handle(thing)
        except Exception as error:  # noqa: BLE001 - told by `run`; a supervisor starts us again
            self.error = error
            self._stop()

    def work(self) -> float:
        """Seconds until the box has something to do again."""
        if self._over:
            return LONG
        try:
            self._box.tick()
        except Exception as error:  # noqa: BLE001 - likewise
            self.error = error
            self._stop()
        wait = self._box.wait()
        return LONG if wait is None else wait

    def _stop(self) -> None:
        self._over = True
        self._box.close()


def run(home: Path, place: Callable[[Deliver, float], Worker] = Worker) -> None:
    """Serve until told to stop. Raises QfleetError when nothing can be done without a person.

    `place` makes where the box trains, of who takes results and how long a process lingers.
    """
    member, identity = load_member(home)
    settings = config.load(home)
    board = readings.Board(home, settings, time.monotonic)
    setting = Setting(
        home=home,
        member=member,
        identity=identity,
        config=settings,
        now=time.monotonic,
        clock=time.time,
        resources=board.read,
    )
    box = Box(setting)
    loop, url = Loop(box), url_of(member)
    mqtt = MqttSettings(
        url=url,
        client_id=f"{member.fleet}-{member.box}-box",
        will=box.will,
        keepalive_s=settings.keepalive,
        trust=trust_of(member, url, settings.ca),
    )
    port = MqttPort(mqtt, loop.take, loop.work)
    board.link = port.link
    worker = place(port.post, settings.linger)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: port.post(None))
    box.attach(port, worker)
    logger.info("box %s of fleet %s, broker %s", member.box, member.fleet, url.address)
    try:
        port.run()
    finally:
        worker.close()
    if loop.error is not None:
        raise loop.error


def main() -> None:
    parser = argparse.ArgumentParser(prog="edge-client start", description=__doc__)
    parser.add_argument("--home", help="the box's folder")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    run_command("edge-client", lambda: run(config.home_of(arguments.home)))


if __name__ == "__main__":
    main()
