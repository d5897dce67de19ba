"""The log of a run: every message's topic and size, every event of both tables in the clear."""

import hashlib
from pathlib import Path

import msgspec

from coordinator.jobstate import Event as RoundEvent
from edge_client.state import Event as BoxEvent
from firmware_sim.clock import Clock

_encode = msgspec.json.Encoder(
    enc_hook=lambda value: value.__dict__, decimal_format="number"
).encode


class Trace:
    """One line each, hashed as it comes, and kept in a file where one is named.

    What is secret or random on a real wire (keys, ciphertext) has its size alone in here, so that
    sealed and costed runs of one seed give the same bytes.
    """

    def __init__(self, clock: Clock, path: Path | None = None) -> None:
        self._clock = clock
        self._hash = hashlib.sha256()
        self._file = path.open("wb") if path else None
        self.lines = 0

    def wire(self, topic: str, payload: bytes) -> None:
        """One publish."""
        self._line(b'%r wire "%s" %d\n' % (self._clock.now, topic.encode(), len(payload)))

    def box(self, box: str, event: BoxEvent, *, after: bool) -> None:
        if not after:
            self._event(box, event)

    def round(self, job: str, event: RoundEvent, *, after: bool) -> None:
        if not after:
            self._event(job, event)

    def _event(self, who: str, event: msgspec.Struct) -> None:
        name = type(event).__name__.encode()
        self._line(b"%r %s %s %s\n" % (self._clock.now, who.encode(), name, _encode(event)))

    def _line(self, line: bytes) -> None:
        self.lines += 1
        self._hash.update(line)
        if self._file:
            self._file.write(line)

    def digest(self) -> str:
        """SHA-256 of all lines so far, in hex."""
        return self._hash.hexdigest()

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None
