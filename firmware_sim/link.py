"""Poor links, repeatably: when each copy of a message arrives.

MQTT at QoS 1 over TCP loses nothing while the connection lives, so loss means a late arrival, and
holds up what follows; only `cut` takes the link away.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from firmware_sim.links import Direction, Line, LinkKind, sent_at


@dataclass(slots=True)
class Link:
    """The way between each client and the broker.

    Clients in `lines` have a line of their own: its rate, shared by what is under way, its delay
    and its faults. For all others `delay_s` is the time of one hop in seconds, `loss`, `duplicate`
    and `reorder` are the probabilities per message, `retransmit_s` is what each loss costs. Clients
    in `wired` sit beside the broker, as a coordinator does: no delay, no faults. Same seed, same
    calls: same faults.
    """

    seed: int
    delay_s: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    retransmit_s: float = 1.0
    wired: frozenset[str] = frozenset()
    lines: Mapping[str, Line] = field(default_factory=dict)
    _random: random.Random = field(init=False, repr=False)
    _last: dict[tuple[str, Direction], float] = field(init=False, repr=False, default_factory=dict)
    _busy: dict[tuple[str, Direction], float] = field(init=False, repr=False, default_factory=dict)
    _cut: set[str] = field(init=False, repr=False, default_factory=set)
    _watchers: list[Callable[[str], None]] = field(init=False, repr=False, default_factory=list)
    _ideal: bool = field(init=False, repr=False)
    """Whether all that is sent is there at once."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable faults, no secret
        self._ideal = not (
            self.lines or self.delay_s or self.loss or self.duplicate or self.reorder
        )

    def at_once(self, client_id: str) -> bool:
        """Whether all that this client sends and is sent is there at once."""
        return self._ideal or client_id in self.wired

    def arrivals(self, client_id: str, direction: Direction, size: int, now: float) -> list[float]:
        """When the copies of a message sent at `now` arrive: one, or more where it duplicates."""
        if self.at_once(client_id):
            return [now]
        arrivals = [self.arrival(client_id, direction, size, now)]
        faults = self._faults(client_id)
        if not (faults.reorder or faults.duplicate):
            return arrivals
        if self._random.random() < faults.reorder:
            arrivals[0] += self._random.uniform(0.0, 2 * faults.retransmit_s)
        while self._random.random() < faults.duplicate:
            arrivals.append(self.arrival(client_id, direction, size, arrivals[-1]))
        return arrivals

    def arrival(self, client_id: str, direction: Direction, size: int, now: float) -> float:
        """When one that is neither duplicated nor overtaken arrives, such as CONNECT."""
        if self.at_once(client_id):
            return now
        way, faults = (client_id, direction), self._faults(client_id)
        if line := self.lines.get(client_id):
            self._busy[way] = sent_at(line, direction, size, max(now, self._busy.get(way, now)))
            now = self._busy[way]
        arrival = now + faults.delay_s
        while faults.loss and self._random.random() < faults.loss:
            arrival += faults.retransmit_s
        self._last[way] = max(arrival, self._last.get(way, arrival))
        return self._last[way]

    def _faults(self, client_id: str) -> "Link | LinkKind":
        line = self.lines.get(client_id)
        return line.kind if line else self

    def cut(self, client_id: str) -> None:
        """Take this client's link away; both ends notice at once, as of a TCP reset."""
        self._cut.add(client_id)
        for watcher in self._watchers:
            watcher(client_id)

    def mend(self, client_id: str) -> None:
        """Give the link back; the client finds out when it tries again."""
        self._cut.discard(client_id)

    def is_cut(self, client_id: str) -> bool:
        return client_id in self._cut

    def watch(self, watcher: Callable[[str], None]) -> None:
        """Have `watcher` called with the client id at each cut."""
        self._watchers.append(watcher)
