"""Models on their way down: encrypted once under the job key, addressed by what the bytes are.

A blob's map is the list of its chunks' SHA-256; its address is the first 16 bytes of the map's
hash. So each chunk is proven as it comes, a forged one never spoils the rest, and a pull goes on
where it stopped. Encrypting the same bytes under the same job key gives the same blob: the key of
each is derived from the plaintext's hash, and is used for nothing else.
"""

import hashlib
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from proto.errors import RemoteError, SealError
from proto.messages import BlobRef

CHUNK = 128 * 1024
MAX_CHUNKS = 8192
OVERHEAD = 16


def encrypt(plaintext: bytes, job_key: bytes) -> tuple[BlobRef, bytes]:
    """The blob's reference and its ciphertext (16 bytes longer than the plaintext)."""
    digest = hashlib.sha256(plaintext).digest()
    sealed = _cipher(job_key, digest).encrypt(bytes(12), plaintext, digest)
    return BlobRef(digest=digest, address=address(sealed), size=len(sealed)), sealed


def decrypt(ref: BlobRef, sealed: bytes, job_key: bytes) -> bytes:
    """The plaintext, proven to be the one `ref.digest` names. Raises SealError."""
    try:
        plaintext = _cipher(job_key, ref.digest).decrypt(bytes(12), sealed, ref.digest)
    except InvalidTag:
        raise SealError("a blob does not open with this job's key") from None
    if hashlib.sha256(plaintext).digest() != ref.digest:
        raise SealError("a blob's content has another hash than the offer names")
    return plaintext


def chunk_map(sealed: bytes) -> bytes:
    """SHA-256 of each 128 KiB chunk, joined."""
    return b"".join(hashlib.sha256(part).digest() for part in chunks(sealed))


def chunks(sealed: bytes) -> list[bytes]:
    return [sealed[i : i + CHUNK] for i in range(0, max(len(sealed), 1), CHUNK)]


def address(sealed: bytes) -> bytes:
    return hashlib.sha256(chunk_map(sealed)).digest()[:16]


@dataclass(frozen=True, slots=True)
class Assembly:
    """A blob being put together. Pure: each step gives a new value."""

    ref: BlobRef
    map: bytes = b""
    parts: dict[int, bytes] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        return max(1, -(-self.ref.size // CHUNK))

    @property
    def whole(self) -> bool:
        return bool(self.map) and len(self.parts) == self.count

    def want(self) -> bytes:
        """What to pull next: empty for the map, else a bit for each missing chunk.

        A blob of one chunk needs no map: the chunk's hash is the map.
        """
        if not self.map and self.count > 1:
            return b""
        bits = sum(1 << i for i in range(self.count) if i not in self.parts)
        return bits.to_bytes(-(-self.count // 8), "little")

    def with_map(self, data: bytes) -> "Assembly":
        """Raises RemoteError unless `data` is the map this blob's address names."""
        right = hashlib.sha256(data).digest()[:16] == self.ref.address
        if not right or len(data) != 32 * self.count:
            raise RemoteError("a chunk map that does not match its address")
        return replace(self, map=data)

    def with_chunk(self, index: int, data: bytes) -> "Assembly":
        """Raises RemoteError for a chunk with the wrong index, size or hash."""
        if not self.map and self.count == 1:
            return self.with_map(hashlib.sha256(data).digest()).with_chunk(index, data)
        if not self.map or not 0 <= index < self.count:
            raise RemoteError(f"chunk {index} was not asked for")
        if hashlib.sha256(data).digest() != self.map[32 * index : 32 * index + 32]:
            raise RemoteError(f"chunk {index} is truncated or altered: {len(data)} bytes")
        return replace(self, parts={**self.parts, index: data})

    def join(self) -> bytes:
        return b"".join(self.parts[i] for i in range(self.count))


def wanted(want: bytes, count: int) -> list[int]:
    """Indexes of the set bits, at most `count`."""
    bits = int.from_bytes(want, "little")
    return [i for i in range(count) if bits >> i & 1]


def _cipher(job_key: bytes, digest: bytes) -> ChaCha20Poly1305:
    # Keyed BLAKE2b (RFC 7693) is a pseudorandom function, at a tenth of the cost of HKDF: every box
    # of a round derives this key.
    derived = hashlib.blake2b(digest, digest_size=32, key=job_key, person=b"qfleet blob v1")
    return ChaCha20Poly1305(derived.digest())
