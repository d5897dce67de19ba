"""One emulated client's board through time: what it does, uses, and when it goes off."""

from math import inf

from msgspec.structs import replace

from firmware_sim.boards import Board, lasts, spend, step, transfer_j
from firmware_sim.hidden import Fault
from firmware_sim.links import is_metered
from firmware_sim.population import Client, advance, ailing, finishes, first_board, load_at

HORIZON = 2 * 86400.0
"""Seconds ahead that a board's supply is looked at."""


LOOK_S = 300.0
"""Between looks whether a board that was off has power enough to boot."""


class Machine:
    """A board, brought up to date whenever somebody asks."""

    __slots__ = ("_at", "_moved", "board", "busy", "client", "paid", "slow")

    def __init__(self, client: Client) -> None:
        self.client = client
        self.board: Board = first_board(client)
        self.busy = False
        self.paid = 0
        """Bytes that went over the client's link while it was metered."""
        self.slow = 1.0
        """Factor on how long its work takes."""
        self._at = 0.0
        self._moved = 0

    @property
    def cpu(self) -> float:
        """Share of all cores in use; training takes one."""
        return 1 / self.board.profile.cores if self.busy else 0.0

    def to(self, at: float) -> Board:
        """The board as it is at `at`."""
        if at > self._at:
            self.board = advance(self.client, self.board, (self._at, at), self.cpu)
            self._at = at
        return self.board

    def begin(self, at: float, work: float) -> float:
        """Start on `work` Raspberry Pi 4 core-seconds; when it ends, inf if never."""
        self.to(at)
        self.busy = True
        return finishes(self.client, self.board, at, work * self.slow)

    def rest(self, at: float) -> None:
        """Stop working."""
        self.to(at)
        self.busy = False

    def radio(self, moved: int) -> float:
        """Account for bytes sent and received since the start, `moved` in all; the joules taken."""
        more = max(0, moved - self._moved)
        joules = transfer_j(self.board.profile, more)
        if more:
            self.paid += more * self._metered()
            self._moved, self.board = moved, spend(self.board, joules)
        return joules

    def _metered(self) -> bool:
        client, at = self.client, self._at
        return ailing(client, at).metered or is_metered(client.line, at, client.life.clock_s)

    def ail(self, fault: Fault, at: float) -> None:
        """A hidden fault begins."""
        self.to(at)
        self.client = replace(self.client, fault=fault)

    def goes_off(self, at: float) -> float:
        """When the board will have no power, if nothing else changes; inf for not in sight."""
        board = self.to(at)
        while at < self._at + HORIZON:
            load, until = load_at(self.client, at, self.cpu)
            left = lasts(board, load)
            if at + left < until:
                return at + left
            if until == inf:
                return inf
            until = max(until, at + 1.0)
            board, at = step(board, load, until - at), until
        return inf

    def comes_back(self, at: float) -> float:
        """When a board that is off will boot; inf for not in sight."""
        board = self.to(at)
        while at < self._at + HORIZON:
            if not board.off:
                return at
            load, until = load_at(self.client, at)
            until = min(max(until, at + 1.0), at + LOOK_S)
            board, at = step(board, load, until - at), until
        return inf
