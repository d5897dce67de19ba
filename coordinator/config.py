"""The coordinator's settings: TOML file < environment (QFLEET_...) < flags. Read here only."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from proto.errors import ConfigError

DEFAULT_HOME = "~/.local/share/qfleet/coordinator"


class CoordinatorConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    fleet: str = "fleet"
    broker: str = ""
    """Use this broker: mqtt://HOST:PORT or mqtts://USER:PASSWORD@HOST:PORT."""
    ca: str = ""
    """A file with the CA of that broker; the system's authorities otherwise."""
    listen: str = ""
    """Run mosquitto for other machines at ADDRESS:PORT, with TLS and an account for each box."""
    public: str = ""
    """The name or address under which boxes reach `listen`; the host's name otherwise."""
    kind: str = "auto"
    """Which embedded broker to run on loopback: auto, mosquitto or iotcore."""
    record: str = ""
    """Append every event of every round to this file, for `fleet replay`."""


def home_of(flag: str | None) -> Path:
    """The coordinator's folder: the flag, else QFLEET_COORDINATOR_HOME, else the default."""
    return Path(flag or os.environ.get("QFLEET_COORDINATOR_HOME") or DEFAULT_HOME).expanduser()


def load(home: Path, flags: dict[str, str | None]) -> CoordinatorConfig:
    """Raises ConfigError that names the key and what it would accept."""
    path = home / "coordinator.toml"
    config = CoordinatorConfig()
    if path.exists():
        try:
            config = msgspec.toml.decode(path.read_bytes(), type=CoordinatorConfig)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {str(error).replace('`$.', '`')}") from None
    chosen = {name: os.environ.get(f"QFLEET_{name.upper()}") for name in flags}
    chosen |= {name: value for name, value in flags.items() if value is not None}
    given = {name: value for name, value in chosen.items() if value is not None}
    config = msgspec.structs.replace(config, **given)
    if config.broker and config.listen:
        raise ConfigError("--broker uses a broker that runs, --listen starts one: give only one")
    if config.kind not in ("auto", "mosquitto", "iotcore"):
        raise ConfigError(f"kind is auto, mosquitto or iotcore, not {config.kind!r}")
    return config


def address(listen: str) -> tuple[str, int]:
    """Text such as "0.0.0.0:8883" to address and port. Raises ConfigError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:  # noqa: PLR2004
        raise ConfigError(f"--listen takes ADDRESS:PORT, such as 0.0.0.0:8883, not {listen!r}")
    return host.strip("[]"), int(port)
