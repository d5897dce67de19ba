"""What an offer names is pulled: asked for, listened for, and asked for again."""

from collections.abc import Callable, Sequence
from math import inf

from edge_client.fetching import Pantry
from proto.messages import BlobRef, Offer, Pull
from proto.topics import Topics
from proto.transport import Port

PULL_WAIT = 3.0
"""Seconds until missing parts of a blob are asked for again."""


class Pulling:
    """The pulls of one box. `ask` sends one; `now` never runs backwards."""

    def __init__(
        self, pantry: Pantry, topics: Topics, ask: Callable[[Pull], None], now: Callable[[], float]
    ) -> None:
        self._pantry, self._topics, self._ask, self._now = pantry, topics, ask, now
        self._heard: tuple[str, ...] = ()
        """Topics of blobs on their way."""
        self._port: Port | None = None
        self.due = inf
        """When `tick` asks again; infinity while nothing is on its way."""

    def attach(self, port: Port) -> None:
        self._port = port

    def begin(self, offer: Offer) -> bool:
        """Whether all that the offer names is here; what is not is asked for."""
        if self.due < inf:  # else none is under way
            self._pantry.stop()
        missing = self._pantry.missing(offer)
        if missing:
            self._pantry.begin(missing, offer.key)
            self._listen(missing)
            self._pull()
        return not missing

    def take(self, address: bytes, part: str, data: bytes, offer: Offer | None) -> bool:
        """One part. True when it was the last of all that this offer names."""
        whole = self._pantry.take(address, part, data)
        if not whole and part == "m" and self.due != inf:
            self._pull()
        if not whole or offer is None or self._pantry.missing(offer):
            return False
        self.due = inf
        self._listen()
        return True

    def tick(self) -> None:
        if self.due <= self._now():
            self._pull()

    def stop(self) -> None:
        """Give up what is on its way."""
        self._pantry.stop()
        self._listen()
        self.due = inf

    def _pull(self) -> None:
        pulls = self._pantry.pulls()
        self.due = self._now() + PULL_WAIT if pulls else inf
        for pull in pulls:
            self._ask(pull)

    def _listen(self, refs: Sequence[BlobRef] = ()) -> None:
        """Hear these blobs' parts, and no longer those of others."""
        assert self._port is not None
        self._port.unsubscribe(*self._heard)
        self._heard = tuple(self._topics.blob(ref.address, "+") for ref in refs)
        self._port.subscribe(*self._heard)
