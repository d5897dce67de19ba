"""A blob is proven chunk by chunk, goes on where it stopped, and opens under its job's key."""

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec.structs import replace

from proto.blobs import (
    CHUNK,
    OVERHEAD,
    Assembly,
    address,
    chunk_map,
    chunks,
    decrypt,
    encrypt,
    wanted,
)
from proto.errors import RemoteError, SealError

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SMALL = b"a small model"
LARGE = bytes(range(256)) * 600
"""Two chunks once encrypted."""


def test_what_was_encrypted_opens_under_the_same_key():
    ref, sealed = encrypt(LARGE, KEY)
    assert ref.size == len(sealed) == len(LARGE) + OVERHEAD
    assert decrypt(ref, sealed, KEY) == LARGE


def test_the_same_bytes_under_the_same_key_are_the_same_blob():
    assert encrypt(SMALL, KEY) == encrypt(SMALL, KEY)
    assert encrypt(SMALL, KEY)[0].address != encrypt(SMALL, OTHER_KEY)[0].address
    assert encrypt(SMALL, KEY)[0].address != encrypt(SMALL + b".", KEY)[0].address


def test_another_jobs_key_opens_nothing():
    ref, sealed = encrypt(SMALL, KEY)
    with pytest.raises(SealError, match="this job's key"):
        decrypt(ref, sealed, OTHER_KEY)


@pytest.mark.parametrize("sealed", [b"", b"short", encrypt(SMALL, KEY)[1][:-1]])
def test_a_blob_cut_short_is_refused(sealed):
    with pytest.raises(SealError):
        decrypt(encrypt(SMALL, KEY)[0], sealed, KEY)


def test_a_blob_under_another_digest_is_refused():
    ref, sealed = encrypt(SMALL, KEY)
    with pytest.raises(SealError):
        decrypt(replace(ref, digest=bytes(32)), sealed, KEY)


def test_a_blob_is_what_the_format_says():
    ref, sealed = encrypt(SMALL, KEY)
    digest = hashlib.sha256(SMALL).digest()
    keyed = hashlib.blake2b(key=KEY, person=b"qfleet blob v1", digest_size=32)
    keyed.update(digest)
    key = keyed.digest()
    assert sealed == ChaCha20Poly1305(key).encrypt(bytes(12), SMALL, digest)
    assert ref.address == hashlib.sha256(hashlib.sha256(sealed).digest()).digest()[:16]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_chunks_are_all_of_the_blob_and_one_hash_each(size):
    sealed = bytes(size)
    parts = chunks(sealed)
    assert b"".join(parts) == sealed
    assert all(len(part) == CHUNK for part in parts[:-1])
    assert len(chunk_map(sealed)) == 32 * len(parts) == 32 * max(1, -(-size // CHUNK))
    assert len(address(sealed)) == 16


# --- pulling --------------------------------------------------------------------------------------


def test_a_blob_of_one_chunk_needs_no_map():
    ref, sealed = encrypt(SMALL, KEY)
    assembly = Assembly(ref)
    assert assembly.want() == b"\x01"
    assembly = assembly.with_chunk(0, sealed)
    assert assembly.whole
    assert decrypt(ref, assembly.join(), KEY) == SMALL


def test_a_blob_of_two_chunks_asks_for_its_map_then_for_what_is_missing():
    ref, sealed = encrypt(LARGE, KEY)
    first, second = chunks(sealed)
    assembly = Assembly(ref)
    assert assembly.want() == b""
    assembly = assembly.with_map(chunk_map(sealed))
    assert assembly.want() == b"\x03"
    assembly = assembly.with_chunk(1, second)
    assert assembly.want() == b"\x01"
    assert not assembly.whole
    assembly = assembly.with_chunk(0, first)
    assert assembly.whole
    assert decrypt(ref, assembly.join(), KEY) == LARGE


def test_a_pull_goes_on_from_the_parts_that_were_kept():
    ref, sealed = encrypt(LARGE, KEY)
    kept = {"m": chunk_map(sealed), 0: chunks(sealed)[0]}
    again = Assembly(ref).with_map(kept["m"]).with_chunk(0, kept[0])
    assert wanted(again.want(), again.count) == [1]


def test_a_forged_part_is_refused_and_spoils_nothing():
    ref, sealed = encrypt(LARGE, KEY)
    first, second = chunks(sealed)
    assembly = Assembly(ref).with_map(chunk_map(sealed)).with_chunk(0, first)
    forged = [
        (1, second[:-1]),
        (1, second + b"\0"),
        (1, first),
        (0, second),
        (2, b""),
        (-1, second),
    ]
    for index, data in forged:
        with pytest.raises(RemoteError, match="chunk"):
            assembly.with_chunk(index, data)
    assert assembly.with_chunk(1, second).whole


def test_a_chunk_before_the_map_was_not_asked_for():
    ref, sealed = encrypt(LARGE, KEY)
    with pytest.raises(RemoteError, match="not asked for"):
        Assembly(ref).with_chunk(0, chunks(sealed)[0])


def test_a_map_that_its_address_does_not_name_is_refused():
    ref, sealed = encrypt(LARGE, KEY)
    for data in (b"", bytes(64), chunk_map(sealed)[:-1], chunk_map(sealed) + bytes(32)):
        with pytest.raises(RemoteError, match="does not match its address"):
            Assembly(ref).with_map(data)


def test_a_map_of_another_length_than_the_offer_says_is_refused():
    ref, sealed = encrypt(LARGE, KEY)
    with pytest.raises(RemoteError, match="does not match"):
        Assembly(replace(ref, size=3 * CHUNK)).with_map(chunk_map(sealed))


def test_an_altered_only_chunk_is_refused():
    ref, sealed = encrypt(SMALL, KEY)
    for index, data in ((0, sealed[:-1]), (0, b""), (1, sealed)):
        with pytest.raises(RemoteError):
            Assembly(ref).with_chunk(index, data)


def test_bits_name_chunks_from_the_lowest_and_never_beyond_the_last():
    assert wanted(b"\x05\x80", 16) == [0, 2, 15]
    assert wanted(b"\xff" * 8192, 3) == [0, 1, 2]
    assert wanted(b"", 3) == []
