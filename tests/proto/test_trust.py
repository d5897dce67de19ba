"""A box finds its own fleet's broker, and no other, whatever its clock and the address say."""

import queue
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from coordinator.broker_config import hash_password
from coordinator.broker_process import BrokerProcess, secure_mosquitto
from coordinator.tls import ca_certificate, server_certificate
from proto.broker_url import BrokerUrl, MqttSettings
from proto.errors import ConfigError, SealError, TransportError
from proto.mqtt import MqttPort
from proto.transport import Connected, Disconnected, Incoming
from proto.trust import first_contact, pinned_context

NOW = 1_800_000_000.0
ROOT, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
Started = Callable[..., BrokerProcess]
pytestmark = pytest.mark.broker


def ca_pem(root: Ed25519PrivateKey) -> str:
    return ca_certificate(root, "fleet", NOW).public_bytes(Encoding.PEM).decode()


def public(root: Ed25519PrivateKey) -> bytes:
    return root.public_key().public_bytes_raw()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    brokers: list[BrokerProcess] = []

    def start(
        root: Ed25519PrivateKey = ROOT, now: float = NOW, host: str = "127.0.0.1", port: int = 0
    ) -> BrokerProcess:
        ca = ca_certificate(root, "fleet", now)
        certificate = server_certificate(root, ca, [host], now)
        with socket.create_server(("127.0.0.1", port)) as probe:
            port = probe.getsockname()[1]
        account = {"box": hash_password("password", bytes(12))}
        home = tmp_path / str(len(brokers))
        brokers.append(secure_mosquitto(home, "127.0.0.1", port, certificate, account))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.stop()


def outcome(broker: BrokerProcess, trust: ssl.SSLContext) -> Incoming:
    """What the first attempt to connect comes to."""
    events: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
    url = BrokerUrl(broker.url.host, broker.url.port, True, "box", "password")
    port = MqttPort(MqttSettings(url, "box", trust=trust), events.put).open()
    event = events.get(timeout=10)
    port.close()
    return event


def test_a_box_that_holds_the_root_trusts_its_broker(started: Started) -> None:
    broker = started()
    trust = first_contact(broker.url.host, broker.url.port, public(ROOT))
    assert isinstance(outcome(broker, trust), Connected)


def test_a_broker_of_another_fleet_is_told_in_words(started: Started) -> None:
    broker = started(OTHER)
    with pytest.raises(SealError, match="does not belong to this fleet"):
        first_contact(broker.url.host, broker.url.port, public(ROOT))


def test_a_first_contact_is_pinned_to_that_very_certificate(started: Started) -> None:
    broker = started()
    trust = first_contact(broker.url.host, broker.url.port, public(ROOT))
    port = broker.url.port
    broker.stop()
    event = outcome(started(OTHER, port=port), trust)
    assert isinstance(event, Disconnected)
    assert "is not trusted" in event.reason


def test_a_member_trusts_what_its_root_signed(started: Started) -> None:
    assert isinstance(outcome(started(), pinned_context(ca_pem(ROOT))), Connected)


def test_a_member_trusts_nothing_else(started: Started) -> None:
    event = outcome(started(OTHER), pinned_context(ca_pem(ROOT)))
    assert isinstance(event, Disconnected)
    assert "is not trusted" in event.reason


@pytest.mark.parametrize("now", [NOW - 40 * 365 * 86400, NOW + 10 * 365 * 86400])
def test_dates_do_not_matter(started: Started, now: float) -> None:
    broker = started(now=now)
    assert isinstance(outcome(broker, pinned_context(ca_pem(ROOT))), Connected)
    trust = first_contact(broker.url.host, broker.url.port, public(ROOT))
    assert isinstance(outcome(broker, trust), Connected)


def test_a_broker_may_change_its_address(started: Started) -> None:
    broker = started(host="old-name.example")
    assert isinstance(outcome(broker, pinned_context(ca_pem(ROOT))), Connected)


def test_a_broker_that_is_away_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(TransportError, match="nothing listens"):
        first_contact("127.0.0.1", port, public(ROOT))


def test_a_port_without_tls_is_told_in_words(mosquitto: BrokerProcess) -> None:
    with pytest.raises(TransportError, match="TLS"):
        first_contact(mosquitto.url.host, mosquitto.url.port, public(ROOT))


def test_a_damaged_authority_is_refused() -> None:
    for text in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ConfigError, match="join the fleet again"):
            pinned_context(text)
