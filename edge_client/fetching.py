"""Pulling blobs: from the cache, from what an earlier try left, or chunk by chunk."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from proto.blobs import Assembly, decrypt
from proto.errors import RemoteError
from proto.files import write_whole
from proto.messages import MAX_INLINE, BlobRef, Offer, Pull

KEEP = 8
"""Opened blobs kept on disk: this round's and a few before."""
SMALL, KEEP_SMALL = 8 * MAX_INLINE, 4
"""Bytes of a blob held in memory, and how many are."""


class Pantry:
    """Blobs of one box: opened ones by digest, unfinished ones by address.

    Small ones are held in memory. What came inside an offer is held nowhere else: it comes again
    with the next one.
    """

    _decrypted = staticmethod(decrypt)
    """An emulated box opens at once what another has opened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[bytes, tuple[Assembly, bytes]] = {}
        self._small: dict[bytes, bytes] = {}

    def missing(self, offer: Offer) -> list[BlobRef]:
        """What an offer names and is not here, once what came inside it is opened.

        Raises SealError for a blob that does not open.
        """
        missing, model, features = [], offer.model, offer.features
        if model is not None:
            if offer.inline:  # and so below SMALL: held from here on
                self._hold(model, self._decrypted(model, offer.inline, offer.key))
            elif self.cached(model) is None:
                missing.append(model)
        if features is not None and self.cached(features) is None:
            missing.append(features)
        return missing

    def open(self, offer: Offer) -> tuple[bytes, bytes]:
        """Its model and features, which are here; nothing where none are named."""
        model, features = offer.model, offer.features
        return (model and self.cached(model)) or b"", (features and self.cached(features)) or b""

    def cached(self, ref: BlobRef) -> bytes | None:
        """The opened blob, if it is here and undamaged."""
        if ref.digest in self._small:
            self._small[ref.digest] = self._small.pop(ref.digest)  # the newest in use
            return self._small[ref.digest]
        path = self._folder / ref.digest.hex()
        if not path.exists():
            return None
        data = path.read_bytes()
        if hashlib.sha256(data).digest() != ref.digest:
            return None
        path.touch()  # what is in use is not the oldest
        self._hold(ref, data)
        return data

    def keep(self, ref: BlobRef, sealed: bytes, key: bytes) -> bytes:
        """Open a whole blob and keep it. Raises SealError, StorageError."""
        data = self._decrypted(ref, sealed, key)
        write_whole(self._folder / ref.digest.hex(), data, durable=False)
        files = sorted(self._folder.glob("?" * 64), key=lambda p: p.stat().st_mtime)
        for path in files[:-KEEP]:
            path.unlink()
        self._hold(ref, data)
        return data

    def _hold(self, ref: BlobRef, data: bytes) -> None:
        if len(data) <= SMALL:
            self._small[ref.digest] = data
            while len(self._small) > KEEP_SMALL:
                del self._small[next(iter(self._small))]

    def begin(self, refs: Iterable[BlobRef], key: bytes) -> None:
        """Start, or go on with, pulling these; what is left of any others is thrown away."""
        self._open = {ref.address: (self._resumed(ref), key) for ref in refs}
        self._sweep()

    def _sweep(self) -> None:
        for other in self._folder.glob("*.parts"):
            if bytes.fromhex(other.stem) not in self._open:
                self._clear(bytes.fromhex(other.stem))

    def _resumed(self, ref: BlobRef) -> Assembly:
        assembly, folder = Assembly(ref), self._parts(ref.address)
        try:
            if (folder / "m").exists():
                assembly = assembly.with_map((folder / "m").read_bytes())
            for path in sorted(folder.glob("[0-9]*")):
                if path.name.isdecimal():  # else it is what a power cut left
                    assembly = assembly.with_chunk(int(path.name), path.read_bytes())
        except RemoteError:
            return Assembly(ref)  # what an earlier try left is damaged: pull it all again
        return assembly

    def pulls(self) -> list[Pull]:
        """What to ask for now."""
        return [Pull(address=a, want=assembly.want()) for a, (assembly, _) in self._open.items()]

    def take(self, address: bytes, part: str, data: bytes) -> bool:
        """One part. True when its blob is whole, opened and kept. Raises RemoteError."""
        if address not in self._open:
            return False
        assembly, key = self._open[address]
        if part != "m" and assembly.count > 1 and not assembly.map:
            return False  # another box asked for it: without the map it cannot be proven
        if part == "m":
            assembly = assembly.with_map(data)
        elif part.isdecimal() and len(part) < 6:  # noqa: PLR2004 - at most 8192 chunks
            assembly = assembly.with_chunk(int(part), data)
        else:
            raise RemoteError(f"a part of a blob named {part[:20]!r}")
        self._open[address] = (assembly, key)
        if not assembly.whole:
            self._write(address, part, data)
            return False
        del self._open[address]
        self.keep(assembly.ref, assembly.join(), key)
        self._clear(address)
        return True

    def stop(self) -> None:
        """Give up what is under way; parts on disk stay for another try."""
        self._open.clear()

    def _write(self, address: bytes, part: str, data: bytes) -> None:
        write_whole(self._parts(address) / part, data, durable=False)

    def _parts(self, address: bytes) -> Path:
        return self._folder / f"{address.hex()}.parts"

    def _clear(self, address: bytes) -> None:
        folder = self._parts(address)
        if folder.exists():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
