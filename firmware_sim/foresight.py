"""How it would go to ask a client now, were this its fault and this its luck. Closed-form, pure.

What the emulation does step by step is here in one go: work at the pace of the board's heat, crash
and start again, find the card full, be off line when done. `draw` is one future: the same draw
gives the same luck.
"""

from math import inf
from typing import NamedTuple

from msgspec.structs import replace

from firmware_sim.behaviour import is_there, queue_s
from firmware_sim.boards import Board, ram_free_mib, transfer_j
from firmware_sim.chance import uniform
from firmware_sim.hidden import survives_s
from firmware_sim.links import DOWN, UP, is_metered, sent_at
from firmware_sim.population import Client, advance, ailing, finishes

REBOOT_S = 90.0
"""From a crash until the box is back."""
KILLED_S = 2.0
"""Until the system ends a training process that wants more memory than there is."""
TRIES = 20
_CRASH, _LOSES, _LIFE = 61, 62, 63


class Ask(NamedTuple):
    """What would be asked: work in Raspberry Pi 4 core-seconds, traffic one way in bytes."""

    at: float
    work: float
    size: int
    needs_mib: float
    deadline: float


class Prospect(NamedTuple):
    """What would come of it."""

    delivered: bool
    seconds: float
    """That the round would wait for it."""
    joules: float
    paid_bytes: int


def foresee(client: Client, board: Board, ask: Ask, draw: int) -> Prospect:
    """`board` is the client's as it is now; its fault is the client's, or a supposed one."""
    at, end = ask.at, ask.at + ask.deadline
    paid = 2 * ask.size * _metered(client, at)
    if ask.needs_mib > ram_free_mib(board, ailing(client, at).ram_mib):
        return Prospect(delivered=False, seconds=KILLED_S, joules=0.0, paid_bytes=paid)
    begun = sent_at(client.line, DOWN, ask.size, at)
    done, joules = _worked(client, board, ask, draw)
    radio = transfer_j(board.profile, 2 * ask.size)
    done += begun - at + queue_s(client.life, at)
    if done < end and uniform(draw, client.number, _LOSES) < ailing(client, done).loses_update:
        return Prospect(delivered=False, seconds=done - at, joules=joules + radio, paid_bytes=paid)
    arrives = sent_at(client.line, UP, ask.size, _back(client, at, done, end, draw))
    in_time = arrives < end
    return Prospect(in_time, (arrives if in_time else end) - at, joules + radio, paid)


def _worked(client: Client, board: Board, ask: Ask, draw: int) -> tuple[float, float]:
    """(when the work is done, joules until then, or until the deadline)."""
    now, joules, end = ask.at, 0.0, ask.at + ask.deadline
    cpu = 1 / board.profile.cores
    for attempt in range(TRIES):
        ends = finishes(client, board, now, ask.work)
        chance = uniform(draw, client.number, _CRASH, attempt)
        dies = now + survives_s(ailing(client, now).crash_per_h, chance)
        until = min(ends, dies, end)
        after = advance(client, board, (now, until), cpu)
        joules += after.used_j - board.used_j
        if until == end or ends <= dies:
            return (ends if until < end else inf), joules
        now, board = until + REBOOT_S, advance(client, after, (until, until + REBOOT_S))
        if now >= end:
            break
    return inf, joules


def _back(client: Client, at: float, done: float, end: float, draw: int) -> float:
    """When the client is on line to hand in what it has done; comings and goings ahead are chance.

    The present stay on line is known to last until its slot's end.
    """
    length, luck = client.life.behaviour.session_s, replace(client.life, seed=draw ^ client.seed)
    moment = done
    while moment < end:
        if int(moment // length) == int(at // length) or is_there(luck, moment):
            return moment
        moment = (int(moment // length) + 1) * length
    return end


def _metered(client: Client, at: float) -> bool:
    return ailing(client, at).metered or is_metered(client.line, at, client.life.clock_s)
