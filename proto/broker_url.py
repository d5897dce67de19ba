"""Where the broker is, as whom to log in, and how to behave there."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

from proto.errors import ConfigError
from proto.transport import Will

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_ACCEPTED = (
    "Write mqtt://HOST[:PORT], or mqtts://HOST[:PORT] for TLS, "
    "with USER:PASSWORD@ before the host if the broker asks for a login."
)


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A broker's address and login. Neither `repr` nor `str` shows the password."""

    host: str
    port: int
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> "BrokerUrl":
        """Read `mqtt://user:pass@host:1883` or `mqtts://host`.

        User name and password may be percent-encoded. Raises ConfigError, never quoting the
        login, with what would be accepted.
        """
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError:
            # The cause is not chained: its text may quote the login.
            raise ConfigError(f"This broker address cannot be read. {_ACCEPTED}") from None
        _check(parts)
        return cls(
            host=parts.hostname or "",
            port=_PORTS[parts.scheme] if port is None else port,
            tls=parts.scheme == "mqtts",
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
        )

    @property
    def address(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        login = f"{quote(self.username, safe='')}@" if self.username else ""
        return f"{'mqtts' if self.tls else 'mqtt'}://{login}{self.address}"


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """How to reach the broker and how to behave there. Times in seconds.

    `trust` is the TLS context for an mqtts URL; without one the system's authorities count.
    """

    url: BrokerUrl
    client_id: str
    will: Will | None = None
    keepalive_s: int = 30
    session_expiry_s: int = 7 * 24 * 3600
    trust: ssl.SSLContext | None = field(default=None, repr=False)
    reconnect_first_s: float = 1.0
    reconnect_longest_s: float = 120.0
    connect_timeout_s: float = 10.0

    def tls_context(self) -> ssl.SSLContext:
        """What decides whether the broker is trusted, on TLS connections."""
        context = self.trust or ssl.create_default_context()
        context.sslsocket_class = _ClosingSocket
        return context


class _ClosingSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails, which paho forgets to do."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _check(parts: SplitResult) -> None:
    if parts.scheme not in _PORTS:
        raise ConfigError(f"A broker address starts with mqtt:// or mqtts://. {_ACCEPTED}")
    if not parts.hostname:
        raise ConfigError(f"This broker address names no host. {_ACCEPTED}")
    if parts.port == 0:
        raise ConfigError(f"A broker's port is from 1 to 65535. {_ACCEPTED}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"Nothing may follow the port in a broker address. {_ACCEPTED}")
    if parts.password and not parts.username:
        raise ConfigError(f"This broker address has a password but no user name. {_ACCEPTED}")
