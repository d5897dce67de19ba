"""Who is there and who has power: owners come and go, batteries run empty, weak supplies crash."""

from collections.abc import Mapping
from functools import partial
from math import inf

from firmware_sim.behaviour import changes, is_there
from firmware_sim.foresight import REBOOT_S
from firmware_sim.link import Link
from firmware_sim.machine import Machine
from firmware_sim.virtual import VirtualFleet


class Lives:
    """The lives of a virtual fleet's boxes, by name, on its clock."""

    def __init__(self, fleet: VirtualFleet, machines: Mapping[str, Machine], link: Link) -> None:
        self._fleet, self._machines, self._link = fleet, machines, link
        self._clock = fleet.clock
        self._away: set[str] = set()
        """Clients whose owners have taken them off line."""
        self._dark: set[str] = set()
        """Boxes without power, or killed for a while or for good."""
        self._epoch: dict[str, int] = {}
        """Counts changes of a board's load: what was foreseen before one counts no more."""
        self.warm: dict[str, float] = {}
        """Until when each box's training process stays loaded for the next round."""

    def begin(self, name: str) -> None:
        """A box starts for the first time, on line or not."""
        if not is_there(self._machines[name].client.life, self._clock.now):
            self._leave(name)
        self._fleet.start_box(name)
        self.foresee(name)
        self._next_change(name)

    # --- power ---

    def foresee(self, name: str) -> None:
        """Put on the clock when this board will have no power, as things are now."""
        epoch = self._epoch[name] = self._epoch.get(name, 0) + 1
        if name in self._dark:
            return
        if (when := self._machines[name].goes_off(self._clock.now)) != inf:
            self._clock.at(when + 0.001, partial(self._off, name, epoch))

    def crash(self, name: str, after_s: float) -> None:
        """The box reboots then, unless its load has changed before."""
        self._clock.after(after_s, partial(self._crash, name, self._epoch[name]))

    def kill(self, name: str, length: float | None = None) -> None:
        """As a pulled plug; the box is back after `length` seconds, or when somebody says so."""
        if name not in self._dark and name in self._fleet.boxes:
            self._dark.add(name)
            self._fleet.kill_box(name)
            self.warm.pop(name, None)
        if length is not None:
            self._clock.after(length, partial(self._back, name))

    def _off(self, name: str, epoch: int) -> None:
        machine, now = self._machines[name], self._clock.now
        if epoch != self._epoch[name] or name in self._dark or not machine.to(now).off:
            return
        self.kill(name)
        if (when := machine.comes_back(now)) != inf:
            self._clock.at(when, partial(self._back, name))

    def _crash(self, name: str, epoch: int) -> None:
        if epoch == self._epoch[name] and name not in self._dark:
            self.kill(name, REBOOT_S)

    def _back(self, name: str) -> None:
        if name in self._dark and not self._machines[name].to(self._clock.now).off:
            self._dark.discard(name)
            self._fleet.start_box(name)
            self.foresee(name)

    # --- the link ---

    def cut(self, name: str, length: float) -> None:
        """No link for so many seconds."""
        self._link.cut(self._fleet.client_id(name))
        self._clock.after(length, partial(self._mend, name))

    def _mend(self, name: str) -> None:
        if name not in self._away:
            self._link.mend(self._fleet.client_id(name))

    def _next_change(self, name: str) -> None:
        when = changes(self._machines[name].client.life, self._clock.now)
        if when != inf:
            self._clock.at(when, partial(self._changes, name))

    def _changes(self, name: str) -> None:
        if is_there(self._machines[name].client.life, self._clock.now):
            self._away.discard(name)
            self._link.mend(self._fleet.client_id(name))
        else:
            self._leave(name)
        self._next_change(name)

    def _leave(self, name: str) -> None:
        self._away.add(name)
        self._link.cut(self._fleet.client_id(name))
