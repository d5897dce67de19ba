"""A box's settings: TOML file < environment (QFLEET_...) < flags. Read here and nowhere else."""

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from proto.errors import ConfigError
from proto.files import write_whole

MAX_FILE = 64 * 1024
DEFAULT_HOME = "~/.local/share/qfleet/box"
Unit = Annotated[str, Meta(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]*\Z")]
SIMULATORS = ("numpy", "aer", "pennylane:default.qubit", "pennylane:lightning.qubit")


class Data(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where this box's rows are. A relative path is relative to the file's folder."""

    source: str = ""
    """A .csv or .npz file, or "sklearn:NAME"."""
    target: str | None = None
    """The column of class names; the last one when not given."""
    test: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.0
    """Share of rows never trained on nor used to steer; a final evaluation reports on them."""
    seed: int = 0


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What this box's owner consents to. Anything beyond is declined with the reason."""

    kinds: tuple[str, ...] = ("circuit", "adapter", "hybrid")
    max_steps: Annotated[int, Meta(ge=1)] = 2000
    max_qubits: Annotated[int, Meta(ge=1, le=12)] = 12
    max_seconds: Annotated[int, Meta(ge=1)] = 86400
    max_model_bytes: Annotated[int, Meta(ge=1)] = 16 * 1024 * 1024
    moments: bool = True
    """Whether sums over the rows may be sent (sealed) to fit a common scaler."""
    backends: tuple[str, ...] = SIMULATORS
    """Where circuits may run. "ibm" costs money; a plug-in of PennyLane's runs others' code."""
    max_shots: Annotated[int, Meta(ge=1)] = 10_000_000
    """Shots a job may spend on "ibm" in all; a simulator's shots cost time alone."""


class Quantum(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The quantum computer behind "ibm"; its token is read from QISKIT_IBM_TOKEN alone."""

    device: str = ""
    """Its name, or a fake one's ("FakeManilaV2"), which is simulated here with its noise."""


class Adapter(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What training an adapter may take of this box."""

    base: str = ""
    """The base model, a GGUF file; empty looks in the cache and in installed packages."""
    memory_mib: Annotated[int, Meta(ge=0)] = 0
    """Memory the training process may take; 0: what is free when it starts."""
    cache_mib: Annotated[int, Meta(ge=0)] = 1024
    """Disk for the trunk's hidden states of this box's rows."""
    rank: Annotated[int, Meta(ge=0, le=64)] = 0
    """Largest rank this box trains, where a task allows less than its own; 0: the task's."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    max_temperature_c: Annotated[int, Meta(ge=30, le=300)] = 80
    """Training pauses above, until the board is 5 degrees cooler."""
    min_battery: Annotated[int, Meta(ge=0, le=100)] = 20
    """Training pauses below this percentage, unless the board is charging."""


class Journal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of this machine's journal may leave, redacted and sealed; nothing without units."""

    units: Annotated[tuple[Unit, ...], Meta(max_length=16)] = ()
    """systemd units, and "kernel" for the kernel's own lines."""
    lines: Annotated[int, Meta(ge=1, le=6)] = 6
    """The newest ones, at most."""
    hide: Annotated[tuple[Annotated[str, Meta(max_length=100)], ...], Meta(max_length=64)] = ()
    """Words that never leave: names of people, places and networks."""


class EdgeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    data: Data = Data()
    policy: Policy = Policy()
    quantum: Quantum = Quantum()
    adapter: Adapter = Adapter()
    journal: Journal = Journal()
    note: Annotated[str, Meta(max_length=200)] = ""
    """A sentence for whoever plans the rounds, sent sealed with each report."""
    ca: str = ""
    """A file with the CA of the broker, where that is neither the fleet's nor a public one."""
    keepalive: Annotated[int, Meta(ge=5, le=3600)] = 30
    """Seconds after which a dead link is noticed."""
    linger: Annotated[float, Meta(ge=0.0)] = 20.0
    """Seconds the training process stays warm after its work."""


def home_of(flag: str | None) -> Path:
    """The box's folder: the flag, else QFLEET_BOX_HOME, else the default."""
    return Path(flag or os.environ.get("QFLEET_BOX_HOME") or DEFAULT_HOME).expanduser()


def engine() -> str:
    """What simulates circuits: QFLEET_ENGINE (numpy, or numba with its extra), else numpy."""
    return os.environ.get("QFLEET_ENGINE") or "numpy"


def load(home: Path) -> EdgeConfig:
    """The box's settings. Raises ConfigError that names the key and what it would accept."""
    path = home / "edge.toml"
    config = EdgeConfig()
    if path.exists():
        if path.stat().st_size > MAX_FILE:
            raise ConfigError(f"{path} is larger than {MAX_FILE} bytes")
        try:
            config = msgspec.toml.decode(path.read_bytes(), type=EdgeConfig)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {str(error).replace('`$.', '`')}") from None
    data = config.data
    source = os.environ.get("QFLEET_DATA") or data.source
    if source and ":" not in source:
        source = str(home / Path(source).expanduser())
    target = os.environ.get("QFLEET_TARGET") or data.target
    data = msgspec.structs.replace(data, source=source, target=target)
    note = os.environ.get("QFLEET_NOTE", config.note)
    return msgspec.structs.replace(config, data=data, note=note)


def ibm_account() -> tuple[str, str]:
    """Token and instance of the account with IBM. They are never written or logged."""
    return os.environ.get("QISKIT_IBM_TOKEN", ""), os.environ.get("QISKIT_IBM_INSTANCE", "")


def write_data(home: Path, source: str, target: str) -> None:
    """Begin a box's edge.toml with where its rows are. Raises ConfigError if there is one."""
    path = home / "edge.toml"
    if ":" not in source:
        source = str(Path(source).expanduser().resolve())
    lines = ["[data]", f"source = {_quoted(source)}"]
    lines += [f"target = {_quoted(target)}"] if target else []
    text = ("\n".join(lines) + "\n").encode()
    if path.exists() and path.read_bytes() != text:
        raise ConfigError(f"{path} exists; set [data] source there")
    write_whole(path, text)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()  # a JSON string is a TOML basic string
