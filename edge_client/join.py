"""Joining: keys made on the box, the token proven, the answer checked against the fleet's root."""

import queue
import re
import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path

from edge_client.config import load
from edge_client.membership import Membership, save_member
from proto.errors import ConfigError, RemoteError, TransportError
from proto.files import write_whole
from proto.identity import Identity
from proto.joining import Token, broker_password, open_answer, request
from proto.messages import ID_PATTERN, Admission
from proto.mqtt import BrokerUrl, MqttPort, MqttSettings
from proto.sealing import KemPair
from proto.topics import Topics
from proto.transport import Connected, Delivery, Disconnected, Incoming
from proto.trust import first_contact, foreign_trust


def default_name() -> str:
    """The host's name, made an id."""
    name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:32]
    return name or "box"


def join(home: Path, token: Token, name: str, seconds: float) -> Membership:
    """Become a member. Raises ConfigError, TransportError, RemoteError with what to do next.

    Safe to repeat: the key is kept from the first try, so the same token is honoured again.
    """
    if (home / "member.json").exists():
        raise ConfigError(f"this box has joined already ({home}); remove the folder to leave")
    if not re.match(ID_PATTERN, name):
        raise ConfigError(f"{name!r} is no name for a box: 1 to 32 of a-z, 0-9 and '-' are")
    identity = _identity(home)
    url = BrokerUrl.parse(token.url)
    trust: ssl.SSLContext | None = None
    ca = load(home).ca
    if url.tls:
        own = token.own
        trust = first_contact(url.host, url.port, token.root) if own else foreign_trust(ca)
    if not url.username:
        url = BrokerUrl(url.host, url.port, url.tls, token.id, broker_password(token.secret))
    kem = KemPair()
    ask = request(token, name, identity, kem)
    answer = _exchange(_settings(url, trust, token), token, ask, kem, seconds)
    admission, record = answer
    if isinstance(admission, str):
        raise RemoteError(f"the coordinator refused: {admission}")
    if admission.box != name:
        raise RemoteError(f"admitted as {admission.box!r}, not as {name!r}")
    member = Membership(
        fleet=token.fleet,
        box=admission.box,
        root=token.root,
        url=token.url,
        username=admission.username,
        password=admission.password,
        ca=admission.ca,
    )
    save_member(home, member, identity, record)
    return member


def _identity(home: Path) -> Identity:
    path = home / "box.key"
    if not path.exists():
        write_whole(path, Identity.generate().secret_bytes())
    return Identity(path.read_bytes())


def _settings(url: BrokerUrl, trust: ssl.SSLContext | None, token: Token) -> MqttSettings:
    name = f"{token.fleet}-{token.id}-join"
    return MqttSettings(url=url, client_id=name, trust=trust, reconnect_first_s=0.3)


def _exchange(
    settings: MqttSettings, token: Token, ask: bytes, kem: KemPair, seconds: float
) -> tuple[Admission | str, bytes]:
    """Publish the request and wait for an answer that is proven; others are passed over."""
    topics, url = Topics(token.fleet), settings.url
    arrivals: queue.SimpleQueue[Incoming] = queue.SimpleQueue()
    port = MqttPort(settings, arrivals.put)
    port.subscribe(topics.join(token.id, "answer"))
    port.open()
    reason, until = "no answer came", time.monotonic() + seconds
    try:
        while True:
            thing = arrivals.get(timeout=max(0.0, until - time.monotonic()))
            match thing:
                case Connected():
                    reason = "the broker is there, but no coordinator answered: is it running?"
                    port.publish(topics.join(token.id, "ask"), ask)
                case Disconnected(why):
                    # Not yet the end: a broker learns a new token a moment after the invitation.
                    reason = f"cannot reach the broker {url.address}: {why}"
                case Delivery(_, payload):
                    port.ack(thing)
                    with suppress(RemoteError):
                        admission, _, record = open_answer(payload, token, ask, kem)
                        return admission, record
                    reason = "an answer came, but not from this fleet's coordinator"
    except queue.Empty:
        raise TransportError(reason) from None
    finally:
        port.close()
