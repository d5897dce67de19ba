"""The ways things may go for one emulated fleet from now on, as far as a coordinator could know.

Each future draws every client's fault from what could be believed of it, and luck. The oracle has
one: the faults and the luck that will be.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from coordinator.selection.advice import SHARES
from coordinator.selection.candidates import Candidate
from coordinator.selection.plan import Field
from coordinator.selection.request import Request
from coordinator.selection.scorers import AGENT
from coordinator.selection.steps import advised
from firmware_sim.beliefs import Belief, Seen, beliefs, drawn
from firmware_sim.chance import seed_of, uniform
from firmware_sim.emulation import Emulation
from firmware_sim.foresight import Ask, Prospect, foresee
from firmware_sim.gains import Asked
from firmware_sim.journal import EVERY_S, by_machines, by_people, let_out, noted, tail
from firmware_sim.population import Client
from firmware_sim.value import OWN

FUTURES = 8
LOOK_BACK = 24
"""Lines of a journal among which those that were reported are looked for."""
_WHOSE = 72

Way = Callable[[str, Ask], Prospect]
"""How asking a box would go in one future."""


class Futures:
    """Of one fleet, round by round."""

    def __init__(self, emulation: Emulation, *, oracle: bool) -> None:
        self._emulation, self._oracle = emulation, oracle
        self._opened: dict[int, float] = {}
        """When each turn began."""

    def opened(self, turn: int) -> None:
        """A turn is considered now."""
        self._opened[turn] = self._now

    def asks(self, found: Field, request: Request) -> dict[Asked, Ask]:
        """What each box could be asked now, in each class of steps."""
        return {
            (c.box, place): self._emulation.ask_of(
                c.box, count, request.bytes_each, request.deadline
            )
            for c in found.covered
            for place, count in enumerate(steps_of_classes(request))
        }

    def ways(self, found: Field, asks: Mapping[Asked, Ask], request: Request) -> list[Way]:
        """One for each future."""
        if self._oracle:
            return [partial(self._foresee, draw=0)]
        known = {c.box: self._beliefs(c, asks[c.box, OWN]) for c in found.covered}
        return [partial(self._supposed, known=known, draw=draw) for draw in self.draws(request)]

    def whose(self, boxes: Sequence[Candidate], draw: int) -> dict[str, str]:
        """Whose update each box would send. Data of boxes that never sent one are anybody's."""
        whose = {c.box: c.box for c in boxes}
        if not self._oracle:
            new = [c.box for c in boxes if not c.past.delivered]
            order = sorted(new, key=lambda box: uniform(draw, _WHOSE, self._client(box).number))
            whose.update(zip(new, order, strict=True))
        return whose

    def draws(self, request: Request) -> list[int]:
        """A seed for each future."""
        if self._oracle:
            return [0]
        seed = self._emulation.seed
        return [seed_of(seed, "future", request.turn, number) for number in range(FUTURES)]

    @property
    def _now(self) -> float:
        return self._emulation.fleet.clock.now

    def _client(self, box: str) -> Client:
        return self._emulation.machines[box].client

    def _supposed(
        self, box: str, ask: Ask, *, known: Mapping[str, Sequence[Belief]], draw: int
    ) -> Prospect:
        fault = drawn(known[box], seed_of(draw, box))
        return self._foresee(box, ask, draw=draw, client=replace(self._client(box), fault=fault))

    def _foresee(self, box: str, ask: Ask, *, draw: int, client: Client | None = None) -> Prospect:
        """The board is as warm and as full as it is now, whenever it is asked."""
        machine = self._emulation.machines[box]
        return foresee(client or machine.client, machine.to(self._now), ask, draw)

    # --- what could be known ---

    def _beliefs(self, candidate: Candidate, ask: Ask) -> list[Belief]:
        emulation, client = self._emulation, self._client(candidate.box)
        board = emulation.machines[candidate.box].to(ask.at)
        seen = self._seen(candidate, client, ask)
        return beliefs(
            emulation.scenario.hidden, board, seen, seed_of(emulation.seed, candidate.box)
        )

    def _seen(self, candidate: Candidate, client: Client, ask: Ask) -> Seen:
        scenario, told, past = self._emulation.scenario, candidate.resources, candidate.past
        slower, asked_at = None, self._opened.get(past.last_asked, ask.at)
        if past.seconds is not None:
            did = self._emulation.ask_of(candidate.box, past.steps or 1, 2 * ask.size, ask.deadline)
            well = self._foresee(candidate.box, did, draw=0, client=replace(client, fault=None))
            slower = max(0.1, past.seconds / max(1.0, well.seconds))
        lines = tail(client, ask.at, LOOK_BACK, by_machines(scenario.wordings))
        told_lines = {_ageless(line) for line in told.journal}
        known = [
            (ask.at - ask.at % EVERY_S - EVERY_S * back, line)
            for back, line in enumerate(reversed(lines))
            if _ageless(let_out(line)) in told_lines
        ]
        line = noted(client, ask.at, by_people(scenario.wordings)) if told.note else None
        return Seen(
            at=ask.at,
            lines=known[: len(told.journal)],
            note=line if line and line.text == told.note else None,
            noted=scenario.notes,
            ram_free_mib=told.ram_free_mib,
            misses=past.misses,
            slower=slower,
            asked_at=asked_at,
        )


def steps_of_classes(request: Request) -> list[int]:
    """What the classes stand for; all the task's own where the agent does not set steps."""
    pace = request.pace
    if pace.regulation.rule != AGENT:
        return [pace.steps for _ in SHARES]
    return [advised(place, pace) for place in range(len(SHARES))]


def _ageless(line: str) -> str:
    return line.partition(" ago: ")[2]
