"""Brokers of our own: they start, keep their address, end with us, and let each box be itself."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from coordinator import broker_process
from coordinator.broker_config import COORDINATOR, hash_password
from coordinator.broker_process import (
    BrokerProcess,
    secure_mosquitto,
    start_broker,
    write_accounts,
)
from coordinator.tls import ca_certificate, server_certificate
from proto.errors import ConfigError, TransportError
from proto.mqtt import MqttPort
from proto.transport import Connected, Deliver, Delivery, Disconnected, Incoming
from proto.trust import pinned_context
from tests.contracts.worlds import quick_settings

pytestmark = pytest.mark.broker
KINDS = pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])
_numbers = count()
NOW = 1_800_000_000.0
PARENT = """
import sys
from pathlib import Path
from coordinator.broker_process import start_broker
broker = start_broker(Path(sys.argv[1]), sys.argv[2])
print(broker.url.port, flush=True)
sys.stdin.read()
"""


def closes(connection: socket.socket) -> bool:
    """Whether the other end goes away within a test's patience."""
    connection.settimeout(10)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@KINDS
def test_a_broker_keeps_its_address_over_restarts(
    own_broker: Callable[[str], BrokerProcess], kind: str
) -> None:
    broker = own_broker(kind)
    first = broker.pid
    broker.restart()
    assert broker.pid != first
    broker.stop()
    broker.stop()
    assert broker.poll() is not None
    again = start_broker(broker.home, kind)
    assert again.url == broker.url
    again.stop()


@KINDS
def test_a_broker_dies_with_its_parent_however_that_dies(tmp_path: Path, kind: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        port = int(parent.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as connection:
            parent.kill()
            assert closes(connection)


@KINDS
def test_a_broker_outlives_the_thread_that_asked_for_it(tmp_path: Path, kind: str) -> None:
    started = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: started.put(start_broker(tmp_path, kind)))
    thread.start()
    broker = started.get(timeout=20)
    thread.join()
    connection = socket.create_connection(("127.0.0.1", broker.url.port))
    connection.settimeout(0.2)
    with connection, pytest.raises(TimeoutError):
        connection.recv(1)
    assert broker.poll() is None
    broker.stop()


@KINDS
def test_nobody_but_this_machine_reaches_it(
    own_broker: Callable[[str], BrokerProcess], kind: str
) -> None:
    port = own_broker(kind).url.port
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {local for _, local, _, state, *_ in sockets if state == "0A"}
    assert [each for each in listening if each.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_a_killed_broker_is_seen_and_can_be_restarted(
    own_broker: Callable[[str], BrokerProcess],
) -> None:
    broker = own_broker("mosquitto")
    os.kill(broker.pid, signal.SIGKILL)
    broker.stop()
    assert broker.poll() is not None
    broker.restart()
    assert broker.poll() is None


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be used"):
            start_broker(tmp_path, port=port)


def test_a_damaged_port_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("what")
    with pytest.raises(ConfigError, match="delete it"):
        start_broker(tmp_path)


def test_a_broker_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_process.shutil, "which", lambda *_args, **_options: None)
    with pytest.raises(ConfigError, match="apt install mosquitto"):
        start_broker(tmp_path, "mosquitto")
    assert broker_process._choose("auto")[0] == "iotcore"
    monkeypatch.setattr(broker_process, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="pip install"):
        start_broker(tmp_path)


def test_a_broker_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=r"did not start: .+"):
        secure_mosquitto(tmp_path, "127.0.0.1", free_port(), (b"no certificate", b"no key"), {})


ROOT = Ed25519PrivateKey.generate()
CA = ca_certificate(ROOT, "fleet", NOW)
TRUST = pinned_context(CA.public_bytes(Encoding.PEM).decode())
USERS = (COORDINATOR, "box-a", "box-b", "token-1", "token-2")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def accounts(*names: str) -> dict[str, str]:
    return {name: hash_password(f"password of {name}", os.urandom(12)) for name in names}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    certificate = server_certificate(ROOT, CA, ["localhost", "127.0.0.1"], NOW)
    home = tmp_path_factory.mktemp("secured")
    try:
        broker = secure_mosquitto(home, "127.0.0.1", free_port(), certificate, accounts(*USERS))
    except ConfigError as missing:
        pytest.skip(str(missing))
    yield broker
    broker.stop()


@pytest.fixture
def dial(secured: BrokerProcess) -> Iterator[Callable[..., MqttPort]]:
    ports: list[MqttPort] = []

    def make(user: str, deliver: Deliver, *patterns: str, password: str = "") -> MqttPort:
        password = password or f"password of {user}"
        url = replace(secured.url, username=user, password=password if user else "")
        # A client id of its own: what an earlier test left in a session is no concern here.
        quick = quick_settings(url, f"client-{next(_numbers)}")
        settings = replace(quick, trust=TRUST, session_expiry_s=0)
        ports.append(MqttPort(settings, deliver))
        ports[-1].subscribe(*patterns)
        return ports[-1].open()

    yield make
    for port in ports:
        port.close()


class Inbox(queue.SimpleQueue):
    def until(self, kind: type[Incoming]) -> Incoming:
        while not isinstance(event := self.get(timeout=10), kind):
            pass
        return event


@pytest.fixture
def coordinator(dial: Callable[..., MqttPort]) -> tuple[MqttPort, Inbox]:
    inbox = Inbox()
    port = dial(COORDINATOR, inbox.put, "qf/#")
    inbox.until(Connected)
    return port, inbox


@pytest.mark.parametrize("user", ["", "stranger"])
def test_strangers_are_refused(dial: Callable[..., MqttPort], user: str) -> None:
    inbox = Inbox()
    dial(user, inbox.put)
    assert "refused the login" in inbox.until(Disconnected).reason


def test_a_wrong_password_is_refused_in_words(dial: Callable[..., MqttPort]) -> None:
    inbox = Inbox()
    dial("box-a", inbox.put, password="wrong")
    assert "check user name and password" in inbox.until(Disconnected).reason


@pytest.mark.parametrize(
    "case",
    [
        ("box-a", "qf/v1/f/up/box-a/m", "qf/v1/f/up/box-b/m"),
        ("box-a", "qf/v1/f/dev/box-a/state", "qf/v1/f/dev/box-b/state"),
        ("box-a", "qf/v1/f/up/box-a/k", "qf/v1/f/dev/box-a/in/m"),
        ("box-a", "qf/v1/f/up/box-a/k", "qf/v1/f/coord/state"),
        ("box-a", "qf/v1/f/up/box-a/k", "qf/v1/f/bc/job/task"),
        ("box-a", "qf/v1/f/up/box-a/k", "qf/v1/f/join/token-1/ask"),
        ("token-1", "qf/v1/f/join/token-1/ask", "qf/v1/f/join/token-2/ask"),
        ("token-1", "qf/v1/f/join/token-1/ask", "qf/v1/f/up/box-a/m"),
    ],
)
def test_each_writes_as_itself_alone(
    dial: Callable[..., MqttPort],
    coordinator: tuple[MqttPort, Inbox],
    caplog: pytest.LogCaptureFixture,
    case: tuple[str, str, str],
) -> None:
    user, own, foreign = case
    inbox = Inbox()
    port = dial(user, inbox.put)
    inbox.until(Connected)
    port.publish(foreign, b"forged")
    port.publish(own, b"mine")
    delivery = coordinator[1].until(Delivery)
    assert (delivery.topic, delivery.payload) == (own, b"mine")
    port.close()
    assert f"publish on {foreign} refused: Not authorized (0x87)" in caplog.text
    assert f"publish on {own}" not in caplog.text


@pytest.mark.parametrize(
    ("user", "readable", "hidden"),
    [
        ("box-a", "qf/v1/f/dev/box-a/in/m", "qf/v1/f/dev/box-b/in/m"),
        ("box-a", "qf/v1/f/bc/job/task", "qf/v1/f/up/box-b/m"),
        ("box-a", "qf/v1/f/blob/abc/0", "qf/v1/f/join/token-1/answer"),
        ("box-a", "qf/v1/f/coord/state", "qf/v1/f/dev/box-b/state"),
        ("token-1", "qf/v1/f/join/token-1/answer", "qf/v1/f/join/token-2/answer"),
        ("token-1", "qf/v1/f/join/token-1/answer", "qf/v1/f/dev/box-a/in/m"),
    ],
)
def test_each_reads_what_is_meant_for_it_alone(
    dial: Callable[..., MqttPort],
    coordinator: tuple[MqttPort, Inbox],
    user: str,
    readable: str,
    hidden: str,
) -> None:
    inbox = Inbox()
    dial(user, inbox.put, "#", "qf/#", hidden)
    inbox.until(Connected)
    coordinator[0].publish(hidden, b"secret")
    coordinator[0].publish(readable, b"open")
    assert inbox.until(Delivery).topic == readable


def test_an_account_can_be_added_and_taken_away_while_it_runs(
    secured: BrokerProcess, dial: Callable[..., MqttPort]
) -> None:
    inbox = Inbox()
    dial("box-c", inbox.put)
    inbox.until(Disconnected)
    write_accounts(secured.home, accounts(*USERS, "box-c"))
    secured.reload()
    inbox.until(Connected)
    write_accounts(secured.home, accounts(*USERS))
    secured.reload()
    assert inbox.until(Disconnected).reason


def test_secrets_on_disk_are_for_the_owner_alone(secured: BrokerProcess) -> None:
    for name in ("server.key", "passwords"):
        assert (secured.home / name).stat().st_mode & 0o077 == 0
