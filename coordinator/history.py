"""What each box did in a job's rounds so far; every closed round is read once."""

import msgspec

from coordinator.selection.candidates import Past, Turn, after
from coordinator.store import Row, Store
from proto.messages import TRAIN, Metrics


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
        """The last training turn whose model holds an update of a box."""
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
        came = {update.box: update for update in store.metrics(row.turn)}
        done = row.outcome == "done"
        # A round that was called off before its time waited for nobody in vain.
        excused = not done and row.closed - row.opened < deadline
        for box in asked:
            turn = turn_of(row, came.get(box), excused=excused)
            self.past[box] = after(self.past.get(box, Past()), turn)
        if done:
            self.counted.update(dict.fromkeys(came, row.turn))
        if done and asked:
            self.bytes_each = (row.bytes_up + row.bytes_down) // len(asked)


def turn_of(row: Row, update: Row | None, *, excused: bool) -> Turn:
    """One box's part of a round: what its stored update tells, or that none came."""
    if update is None:
        return Turn(row.turn, excused=excused)
    told = metrics_of(update)
    seconds = max(0.0, update.received - row.opened)
    return Turn(row.turn, seconds, told.steps if told else 0, told.first_loss if told else None)


def metrics_of(row: Row) -> Metrics | None:
    """What a stored update told."""
    return msgspec.msgpack.decode(row.metrics, type=Metrics | None)
