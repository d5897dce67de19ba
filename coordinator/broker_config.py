"""Text of the configuration files that the embedded brokers read. Pure: no file is touched.

Formats: mosquitto.conf(5) of mosquitto 2.0; rumqttd 0.20's TOML, as inside iotcore 0.4.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proto.errors import ConfigError
from proto.transport import MAX_PAYLOAD

COORDINATOR = "coordinator"
"""The broker user that may do everything below `qf/`."""

PBKDF2_ITERATIONS = 101
"""What mosquitto 2.0 writes itself. Low, because every password here is a 128-bit random one."""

_LARGEST = MAX_PAYLOAD + 4096
_SEGMENT = 4 * 1024 * 1024
_QUEUED_BYTES = 64 * 1024 * 1024
_SALT_BYTES = 12


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a listener that is open to others needs: certificate, key, passwords, rights."""

    certificate: Path
    key: Path
    passwords: Path
    rights: Path


def mosquitto_config(
    home: Path, address: str, port: int, *, as_root: bool, tls: TlsFiles | None = None
) -> str:
    """mosquitto.conf for one listener, open to all on loopback, or with TLS and logins.

    `as_root` keeps a mosquitto started by root as root: it would otherwise become another user,
    who may not read `home`. Raises ConfigError for a path or address that the format cannot hold.
    """
    lines = ["user root"] if as_root else []
    lines += [
        "per_listener_settings false",
        "persistence true",
        f"persistence_location {_word(f'{home}/')}",
        "autosave_interval 60",
        "set_tcp_nodelay true",
        f"message_size_limit {_LARGEST}",
        "max_queued_messages 1000",
        f"max_queued_bytes {_QUEUED_BYTES}",
        f"log_dest file {_word(str(home / 'broker.log'))}",
        "log_type error",
        "log_type warning",
        f"listener {port} {_word(address)}",
    ]
    if tls is None:
        lines += ["allow_anonymous true"]
    else:
        lines += [
            "allow_anonymous false",
            "tls_version tlsv1.2",
            f"certfile {_word(str(tls.certificate))}",
            f"keyfile {_word(str(tls.key))}",
            f"password_file {_word(str(tls.passwords))}",
            f"acl_file {_word(str(tls.rights))}",
        ]
    return "\n".join(lines) + "\n"


def iotcore_config(port: int) -> str:
    """The TOML of rumqttd: MQTT 5 on loopback only, since it can neither restrict topics nor users.

    Its commit log keeps `max_segment_size` x `max_segment_count` bytes for each subscription
    filter, by default 1 GB; ours keeps 8 MiB.
    """
    return f"""\
id = 0

[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = {_SEGMENT}
max_segment_count = 2

[v5.1]
name = "loopback"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {_LARGEST}
max_inflight_count = 100
dynamic_filters = true
"""


def rights() -> str:
    """The ACL file of mosquitto: a box acts only as itself, a join token only in its own exchange.

    `%u` is the user name: the box's id, or the token's. mosquitto grants any SUBSCRIBE and
    filters at delivery, so a granted one proves nothing.
    """
    return f"""\
pattern write qf/v1/+/up/%u/#
pattern write qf/v1/+/dev/%u/state
pattern read qf/v1/+/dev/%u/in/#
pattern readwrite qf/v1/+/join/%u/#
pattern read qf/v1/+/bc/#
pattern read qf/v1/+/blob/#
pattern read qf/v1/+/coord/state

user {COORDINATOR}
topic readwrite qf/#
"""


def password_lines(accounts: Mapping[str, str]) -> str:
    """The password file of mosquitto from user names and their `hash_password`s, sorted.

    Raises ConfigError for a name or hash that would break its line.
    """
    for name, hashed in accounts.items():
        if not name or any(letter in name for letter in ":\r\n"):
            raise ConfigError(f"'{name}' is not usable as a broker user name.")
        if not hashed.startswith("$7$") or any(letter in hashed for letter in ":\r\n"):
            raise ConfigError(f"The password of broker user '{name}' is not hashed.")
    return "".join(f"{name}:{accounts[name]}\n" for name in sorted(accounts))


def hash_password(password: str, salt: bytes, iterations: int = PBKDF2_ITERATIONS) -> str:
    """`$7$iterations$salt$hash`: PBKDF2-HMAC-SHA512, as mosquitto_passwd of 2.0 writes it.

    mosquitto takes salts of 12 bytes and no others. Raises ConfigError.
    """
    if len(salt) != _SALT_BYTES:
        raise ConfigError(f"mosquitto takes salts of {_SALT_BYTES} bytes, not {len(salt)}.")
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    parts = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"$7${iterations}${'$'.join(parts)}"


def _word(text: str) -> str:
    """A value that fits on one line of mosquitto.conf."""
    if "\n" in text or "\r" in text or text != text.strip() or not text:
        raise ConfigError(f"{text!r} cannot be written into mosquitto's configuration.")
    return text
