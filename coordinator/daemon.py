"""The coordinator's process: keys, store, broker and service put together, and the loop.

`python -m coordinator.daemon --home DIR ...`; `coordinator start` becomes this process.
"""

import argparse
import fcntl
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from cryptography.hazmat.primitives.serialization import Encoding

from coordinator import admission, config
from coordinator.agent.advisor import Agent
from coordinator.broker_config import COORDINATOR
from coordinator.broker_process import BrokerProcess, secure_mosquitto, start_broker, write_accounts
from coordinator.config import CoordinatorConfig
from coordinator.keys import Keys, make_keys
from coordinator.recording import Recorder
from coordinator.service import Service, Start
from coordinator.store import Store
from coordinator.tls import ca_certificate, server_certificate
from proto.broker_url import BrokerUrl, MqttSettings
from proto.errors import ConfigError, TransportError
from proto.exits import run_command
from proto.files import write_whole
from proto.mqtt import MqttPort
from proto.topics import checked
from proto.transport import Incoming
from proto.trust import foreign_trust, pinned_context

GATHER = 0.005
"""Seconds an arrival may wait for others."""
MAX_BATCH = 64
"""Deliveries handled in one transaction."""
BROKER_LOOK = 1.0
"""Seconds between looks at a broker of our own."""

logger = logging.getLogger("coordinator")


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker in use: ours (then `process` is set) or somebody else's."""

    url: BrokerUrl
    invite_url: str
    """What join tokens say; empty when the operator has to give boxes a login."""
    trust: ssl.SSLContext | None
    ca: str = ""
    process: BrokerProcess | None = None


def serve(home: Path, settings: CoordinatorConfig) -> None:
    """Run until told to stop. Raises QfleetError when nothing can be done without a person."""
    checked(settings.fleet)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock(home):
        keys = make_keys(home, settings.fleet, time.time())
        store = Store(home / "qfleet.db")
        broker = connect_broker(home, settings, keys, store)
        try:
            write_whole(home / "ready", str(os.getpid()).encode())
            _serve(settings, keys, store, broker)
        finally:
            if broker.process is not None:
                broker.process.stop()
            store.close()


def lock(home: Path) -> IO[str]:
    """Hold the folder for this process. Raises ConfigError when another coordinator has it."""
    file = (home / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(f"a coordinator is running already on {home}") from None
    return file


def connect_broker(home: Path, settings: CoordinatorConfig, keys: Keys, store: Store) -> Broker:
    """Use, or start, the broker that the settings ask for; remember what invitations say."""
    if settings.broker:
        broker = _foreign(settings)
    elif settings.listen:
        broker = _listening(home, settings, keys, store)
    else:
        process = start_broker(home / "broker", settings.kind)  # type: ignore[arg-type]
        broker = Broker(process.url, str(process.url), None, process=process)
    kind = broker.process.kind if broker.process else broker.url.address
    store.set_fact("broker", kind.encode())
    store.set_fact("url", broker.invite_url.encode())
    store.set_fact("own", b"1" if broker.ca else b"0")
    store.set_fact("fleet", settings.fleet.encode())
    return broker


def _foreign(settings: CoordinatorConfig) -> Broker:
    url = BrokerUrl.parse(settings.broker)
    trust = foreign_trust(settings.ca) if url.tls else None
    # A login of the coordinator's own is never handed out.
    return Broker(url, "" if url.username else str(url), trust)


def _listening(home: Path, settings: CoordinatorConfig, keys: Keys, store: Store) -> Broker:
    host, port = config.address(settings.listen)
    name = settings.public or (socket.gethostname() if host in ("0.0.0.0", "::") else host)  # noqa: S104
    if keys.root is None:
        raise ConfigError("--listen makes certificates with root.key; bring it for the start")
    now = time.time()
    authority = ca_certificate(keys.root.private_key, settings.fleet, now)
    hosts = sorted({name, host, "localhost", "127.0.0.1"} - {"0.0.0.0", "::"})  # noqa: S104
    certificate = server_certificate(keys.root.private_key, authority, hosts, now)
    ca = authority.public_bytes(Encoding.PEM).decode()
    known = admission.accounts(store, keys, now)
    process = secure_mosquitto(home / "broker", host, port, certificate, known)
    password = admission.coordinator_password(keys)
    url = replace(process.url, username=COORDINATOR, password=password)
    invite = str(BrokerUrl(name, port, tls=True))
    return Broker(url, invite, pinned_context(ca), ca, process)


def _serve(settings: CoordinatorConfig, keys: Keys, store: Store, broker: Broker) -> None:
    accounts = _account_writer(broker)
    fleet = admission.Fleet(settings.fleet, keys, broker.ca)
    record = Recorder(Path(settings.record)) if settings.record else None
    with closing(Agent()) as agent:
        start = Start(store, fleet, steady_clock(), accounts, record=record, advisor=agent)
        _run(Service(start), broker, f"{settings.fleet}-coordinator")


def _run(service: Service, broker: Broker, client_id: str) -> None:
    """Until somebody says to stop; raises what ended it before."""
    loop = Loop(service, broker)
    port = MqttPort(
        MqttSettings(url=broker.url, client_id=client_id, will=service.will, trust=broker.trust),
        loop.take,
        loop.work,
    )
    service.attach(port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: port.post(None))
    logger.info("%s, broker %s", client_id, broker.url.address)
    port.run()
    if loop.error is not None:
        raise loop.error


class Loop:
    """The coordinator's one thread: arrivals gather, a turn handles them in one transaction."""

    def __init__(self, service: Service, broker: Broker) -> None:
        self._service, self._broker = service, broker
        self._arrived: list[Incoming] = []
        self._since = 0.0
        self._look_at = 0.0
        self._over = False
        self.error: Exception | None = None

    def take(self, thing: Incoming | None) -> None:
        """None is the wish to stop."""
        if thing is None:
            self._stop()
        else:
            if not self._arrived:
                self._since = time.monotonic()
            self._arrived.append(thing)

    def work(self) -> float:
        """Seconds until the service has something to do again."""
        if self._over:
            return BROKER_LOOK
        if (wait := self._gather()) > 0:
            return wait
        try:
            while self._arrived:
                batch = self._arrived[:MAX_BATCH]
                del self._arrived[:MAX_BATCH]
                self._service.handle(batch)
            self._service.tick()
            self._watch()
        except Exception as error:  # noqa: BLE001 - told by `_serve`; a supervisor starts us again
            self.error = error
            self._stop()
        return self._service.wait()

    def _gather(self) -> float:
        """Seconds that what arrived had better wait: a transaction shared costs each less."""
        if not self._arrived or len(self._arrived) >= MAX_BATCH:
            return 0.0
        return self._since + GATHER - time.monotonic()

    def _watch(self) -> None:
        """A broker of ours that died is started again."""
        now, process = time.monotonic(), self._broker.process
        if process is None or now < self._look_at:
            return
        self._look_at = now + BROKER_LOOK
        if process.poll() is not None:
            logger.warning("the broker died; it is started again")
            try:
                process.restart()
            except TransportError as error:
                logger.warning("%s", error)

    def _stop(self) -> None:
        if not self._over:
            self._over = True
            self._service.close()


def _account_writer(broker: Broker) -> Callable[[dict[str, str]], None] | None:
    """Keep mosquitto's password file in step; it is reloaded only when it changed."""
    process = broker.process
    if process is None or not broker.ca:
        return None
    written: dict[str, str] = {}

    def write(accounts: dict[str, str]) -> None:
        if accounts != written:
            write_accounts(process.home, accounts)
            process.reload()
            written.clear()
            written.update(accounts)

    return write


def steady_clock() -> Callable[[], float]:
    """Seconds since 1970 that never jump: a corrected system clock must not end a round."""
    wall, start = time.time(), time.monotonic()
    return lambda: wall + time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(prog="coordinator start", description=__doc__)
    parser.add_argument("--home")
    names = ("fleet", "broker", "ca", "listen", "public", "kind", "record")
    for name in names:
        parser.add_argument(f"--{name}")
    arguments = vars(parser.parse_args())
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    home = config.home_of(arguments["home"])
    flags = {name: arguments[name] for name in names}
    run_command("coordinator", lambda: serve(home, config.load(home, flags)))


if __name__ == "__main__":
    main()
