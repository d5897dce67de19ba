"""What each box did in a job's rounds so far; every closed round is read once."""

import msgspec

from coordinator.selection.candidates import Past, Turn, after, came
from coordinator.store import Row, Store
from proto.messages import TRAIN


class _Asked(msgspec.Struct):
    """Of a stored plan only this."""

    cohort: tuple[str, ...]


class History:
    """Of one job; rebuilt from the store by whoever needs it."""

    def __init__(self) -> None:
        self._read = 0
        """The last turn that is in here."""
        self.past: dict[str, Past] = {}
        self.counted: dict[str, int] = {}
        """The last training turn whose model holds an update of a box ..."""
        self.made: dict[str, int] = {}
        """... and the turn that this update was asked for in."""
        self.bytes_each = 0
        """Traffic of one box in the last training round that counted, up and down."""

    def catch_up(self, store: Store, job: str, deadline: float) -> None:
        """Read the rounds that were closed since. Each is given `deadline` seconds."""
        for row in store.rounds(job, self._read):
            if row.closed is None:
                return
            self._read = row.turn
            if row.kind == TRAIN:
                self._take(store, row, deadline)

    def _take(self, store: Store, row: Row, deadline: float) -> None:
        asked = msgspec.json.decode(row.plan, type=_Asked).cohort
        updates = store.metrics(row.turn)
        done = row.outcome == "done"
        # A round that was called off before its time waited for nobody in vain.
        excused = not done and row.closed - row.opened < deadline
        past, new, missing = self.past, Past(), set(asked)
        in_time = missing & {u.box for u in updates if u.made == row.turn}
        for box in missing - in_time:
            past[box] = after(past.get(box, new), Turn(row.turn, excused=excused))
        for update in updates:
            # What was asked for in an earlier turn was noted as missing there.
            note = after if update.box in in_time else came
            past[update.box] = note(past.get(update.box, new), turn_of(row, update))
            if done:
                self.counted[update.box], self.made[update.box] = row.turn, update.made
        if done and (boxes := max(len(asked), len(updates))):
            self.bytes_each = (row.bytes_up + row.bytes_down) // boxes


def turn_of(row: Row, update: Row) -> Turn:
    """One box's part of a round, as its stored update tells it."""
    told = update.metrics
    seconds = update.received - (row.opened if update.asked is None else update.asked)
    if seconds < 0.0:  # noqa: PLR1730 - as in `waited`; the clock was set back
        seconds = 0.0
    if told is None:
        return Turn(update.made, seconds)
    return Turn(update.made, seconds, told.steps, told.first_loss)
