"""The coordinator's shell: what arrives goes through one transaction, then answers leave.

A batch of deliveries is handled in one unit of work; only when it is on disk are the broker's
deliveries acked and the letters sent (group commit). `coordinator/daemon.py` is the loop round it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from coordinator import admission
from coordinator.admission import Fleet
from coordinator.considering import Advisor
from coordinator.jobs import Jobs
from coordinator.memory import Memory
from coordinator.notices import Notices, printable
from coordinator.post import Post
from coordinator.presence import Opened, Presence
from coordinator.recording import Recorder
from coordinator.store import Store
from proto.bundling import unbundle
from proto.errors import QfleetError, RemoteError, StorageError
from proto.identity import sign
from proto.locks import REAL, Locks
from proto.messages import (
    DUPLICATE,
    REFUSED,
    Ack,
    Birth,
    CoordinatorState,
    Enlistment,
    Piece,
    Pull,
    Report,
    Revoked,
    Sealed,
    Update,
)
from proto.sealing import Frame
from proto.topics import Topics
from proto.transport import Connected, Delivery, Disconnected, Incoming, Port, Will

MAX_ITEMS = 32
"""Acks in one letter."""
ACK_WAIT = 0.25
"""Seconds an ack may wait for the next offer to ride with."""
ANNOUNCE = 300.0
"""Seconds between announcements of this coordinator and of all tasks."""
POLL = 0.5

logger = logging.getLogger("coordinator")


@dataclass(frozen=True, slots=True)
class Start:
    """Everything a coordinator process is started with. `now` is seconds since 1970."""

    store: Store
    fleet: Fleet
    now: Callable[[], float]
    on_accounts: Callable[[dict[str, str]], None] | None = None
    """Told the broker's accounts whenever they may have changed."""
    locks: Locks = REAL
    record: Recorder | None = None
    advisor: Advisor | None = None
    poll: float = POLL
    """Seconds between looks at what other processes wrote to the store."""


class Service:
    """One coordinator process."""

    def __init__(self, start: Start) -> None:
        self._store, self._fleet, self._now = start.store, start.fleet, start.now
        self._record, self._advisor, self._poll = start.record, start.advisor, start.poll
        self._on_accounts = start.on_accounts
        self._identity = start.fleet.keys.identity
        self.topics = Topics(start.fleet.name)
        self._notices = Notices(self._store)
        self._presence = Presence(self._store, start.fleet.name, self._identity, start.locks)
        self._post = Post(self._presence, self.topics)
        self._jobs = self._new_jobs()
        self._acks: dict[str, tuple[list[tuple[bytes, int, str]], int]] = {}
        """Of each box, and the turn of the last of them."""
        self._cast_out: set[str] = set()
        """Revoked boxes this process has dealt with."""
        self._shaken = False
        self._accounts_due = False
        self._version = -1
        self._look_at = 0.0
        self._announce_at = self._now() + ANNOUNCE
        with self._store.unit():
            self._memory = Memory(self._store, self._now)
            self._store.all_offline()
        self._port: Port | None = None

    def _new_jobs(self) -> Jobs:
        jobs = Jobs(self._store, self._notices, self._presence, self._post, self._identity)
        jobs.tell = self._record.event if self._record else None
        jobs.advisor = self._advisor
        return jobs

    @property
    def will(self) -> Will:
        return Will(self.topics.coordinator, self._state(online=False))

    def attach(self, port: Port) -> None:
        """Use this connection, made with our `will`."""
        self._port = port
        root = self.topics.root
        port.subscribe(
            f"{root}/dev/+/state", f"{root}/up/+/k", f"{root}/up/+/m", f"{root}/join/+/ask"
        )

    def close(self) -> None:
        """Say goodbye in words of our own; the will is for accidents."""
        if self._port is None:
            return
        try:
            self._post.flush(self._port, float("inf"))
            self._port.publish(self.topics.coordinator, self._state(online=False), retain=True)
        except QfleetError as error:
            logger.warning("left without a goodbye: %s", error)
        finally:
            self._port.close()

    # --- the loop's body ---

    def handle(self, batch: list[Incoming]) -> None:
        """Take a batch in one transaction, then ack and answer.

        On a full disk nothing of it is taken, and it is acked all the same: an unacked delivery
        would block all that follow. Boxes keep what has no ack and send it again.
        """
        assert self._port is not None
        deliveries = [thing for thing in batch if isinstance(thing, Delivery)]
        if self._shaken:  # and not yet recovered: no job is known, good updates would be refused
            batch = [thing for thing in batch if not isinstance(thing, Delivery)]
        now = self._now()
        try:
            with self._store.unit():
                for thing in batch:
                    self._take(thing, now)
                self._write_acks()
        except StorageError as error:
            self._shake(error)
        for delivery in deliveries:
            self._port.ack(delivery)
        self._leave()

    def tick(self) -> None:
        """Time passed: deadlines, other processes' wishes, and work that waited for a commit."""
        now = self._now()
        try:
            if now >= self._look_at or now < self._look_at - 2 * self._poll:
                self._look_at = now + self._poll
                self._look(now)
            while (at := self._jobs.wake(now)) is not None and at <= now:
                with self._store.unit():
                    self._jobs.run_later(now)
                    self._jobs.tick(now)
                self._leave()
            if now >= self._post.due:
                self._leave()
        except StorageError as error:
            self._shake(error)

    def _look(self, now: float) -> None:
        if now >= self._announce_at:
            # Somebody may have put something else in the place of what we retained.
            self._announce_at = now + ANNOUNCE
            self._post.publish(self.topics.coordinator, self._state(online=True))
            self._jobs.announce()
            self._leave()
        version, boards = self._store.changes(), self._presence.boards()
        if version == self._version and not boards and not self._shaken:
            return
        with self._store.unit():
            if self._shaken:
                self._recover()
            self._jobs.count_late()
            if boards:
                self._store.save_boards(boards)
            if version != self._version:
                self._take_wishes(now)
        self._version, self._shaken = version, False
        self._leave()

    def _shake(self, error: StorageError) -> None:
        """The disk refused, a unit was rolled back: forget what memory has made of it."""
        logger.error("%s; nothing of this was kept, boxes will send it again", error)
        self._post.discard()
        self._acks.clear()
        self._jobs, self._version = self._new_jobs(), -1
        self._shaken, self._look_at = True, 0.0

    def _recover(self) -> None:
        """Have every box exchange keys and say everything again."""
        self._memory.begin_session()
        self._presence.drop_epochs()
        self._post.publish(self.topics.coordinator, self._state(online=True))

    @property
    def due(self) -> float:
        """When `tick` has something to do, in seconds since 1970."""
        at = self._jobs.wake(self._now())
        due = min(self._look_at, self._post.due)
        return due if at is None else min(due, at)

    def wait(self) -> float:
        """Seconds until `tick` is due."""
        return max(0.0, self.due - self._now())

    def _leave(self) -> None:
        assert self._port is not None
        if self._accounts_due:
            self._accounts_due = False
            self._sync_accounts(self._now())
        self._post.flush(self._port, self._now())

    # --- what arrives ---

    def _take(self, thing: Incoming, now: float) -> None:
        match thing:
            case Delivery():
                topic = sender = thing.topic
                try:
                    levels = self.topics.parse(topic)
                    sender = levels[1] if len(levels) > 1 else topic
                    self._route(levels, thing.payload, now)
                except StorageError:
                    raise
                except QfleetError as error:
                    self._notices.once(now, printable(sender, 40), str(error))
            case Connected():
                # A broker may forget all it retained: say everything again.
                self._post.publish(self.topics.coordinator, self._state(online=True))
                self._jobs.announce()
                logger.info("connected to the broker")
            case Disconnected(reason):
                logger.warning("the broker is gone: %s", reason)

    def _route(self, levels: tuple[str, ...], payload: bytes, now: float) -> None:
        match levels:
            case ("up", box, "m"):  # first what comes most
                self._messages(box, self._presence.open(box, payload), len(payload), now)
            case ("dev", box, "state"):
                self._state_of(box, payload, now)
            case ("up", box, "k"):
                opened = self._presence.accept(box, payload)
                self._store.change_box(box, online=True, seen=now)
                self._messages(box, opened, len(payload), now)
                # An ack of nothing tells the box that its keys are known here.
                self._post.to_box(box, Ack(items=()))
                self._jobs.ready(box, now)
            case ("join", token, "ask"):
                self._join(token, payload, now)
            case _:
                raise RemoteError("a topic nothing is expected on")

    def _messages(self, box: str, opened: Opened, size: int, now: float) -> None:
        """All that one frame of so many bytes holds; the first message answers for its size."""
        message, frame = opened
        first, *more = unbundle(message)
        # What came of an offer first: a yes that came along with it tells nothing more.
        late = more and type(first) is Report
        if not late:
            self._message(box, first, frame, size, now)
        for other in more:
            self._message(box, other, frame, 0, now)
        if late:
            self._message(box, first, frame, size, now)

    def _message(self, box: str, message: Sealed, frame: Frame, size: int, now: float) -> None:
        match message:
            case Update():
                self._update(box, message, frame, size, now)
            case Report():
                self._presence.hear(box, message.resources, now)
                self._jobs.report(box, message, size, now)
            case Enlistment():
                self._jobs.enlist(box, message, now)
            case Piece():
                self._piece(box, message, frame, size, now)
            case Pull():
                self._jobs.pull(box, message)
            case _:
                raise RemoteError(f"a {type(message).__name__} from a box")

    def _update(self, box: str, update: Update, frame: Frame, size: int, now: float) -> None:
        code, text = self._jobs.update(box, update, frame, size, now)
        self._answer(box, update, code, text)
        if code == REFUSED:
            told, job = f"an update for turn {update.turn}: {text}", self._jobs.whose(update.turn)
            self._notices.once(now, box, told, job)

    def _piece(self, box: str, piece: Piece, frame: Frame, size: int, now: float) -> None:
        """Part of an update; the last one to come is counted, the update then costs no more."""
        update, why = self._jobs.piece(box, piece, size)
        if update is not None:
            self._update(box, update, frame, 0, now)
        elif why:
            known = self._store.knows_update(piece.id)
            self._answer(box, piece, DUPLICATE if known else REFUSED, "" if known else why)

    def _answer(self, box: str, message: Update | Piece, code: int, text: str) -> None:
        items, _ = self._acks.get(box, ([], 0))
        items.append((message.id, code, text[:200]))
        self._acks[box] = (items, message.turn)

    def _state_of(self, box: str, payload: bytes, now: float) -> None:
        if not payload:
            return
        try:
            birth, offer = self._presence.birth(box, payload, self._memory.era)
        except RemoteError:
            if self._presence_gone(box, payload, now):
                return
            row = self._store.box(box)
            if row is not None and row.revoked:
                self._tell_revoked(box)
            raise
        self._store.change_box(box, release=printable(birth.release, 32))
        if self._memory.behind(birth):
            self._begin_era(birth, now)
            return
        self._post.key_offer(box, offer)

    def _tell_revoked(self, box: str) -> None:
        roster = admission.roster_version(self._store)
        notice = Revoked(fleet=self._fleet.name, box=box, roster=roster)
        self._post.key_offer(box, sign(notice, self._identity))

    def _presence_gone(self, box: str, payload: bytes, now: float) -> bool:
        try:
            gone = self._presence.gone(box, payload)
        except RemoteError:
            return False
        if gone:
            self._store.change_box(box, online=False, seen=now)
        return True

    def _join(self, token: str, payload: bytes, now: float) -> None:
        if not payload:
            return
        box, answer, refusal = admission.admit(self._store, self._fleet, payload, now)
        text = f"{box} was refused: {refusal}" if refusal else f"{box} has joined"
        self._notices.say(now, text)
        self._post.publish(self.topics.join(token, "answer"), answer, retain=False)
        self._accounts_due = True

    def _write_acks(self) -> None:
        for box, (items, turn) in self._acks.items():
            for start in range(0, len(items), MAX_ITEMS):
                ack = Ack(items=tuple(items[start : start + MAX_ITEMS]))
                self._post.to_box(box, ack, turn, ACK_WAIT)
        self._acks.clear()

    # --- telling ---

    def _begin_era(self, birth: Birth, now: float) -> None:
        self._notices.say(now, self._memory.begin_era(birth))
        self._presence.drop_epochs()
        self._jobs.era_began(now)
        self._post.publish(self.topics.coordinator, self._state(online=True))

    def _state(self, *, online: bool) -> bytes:
        state = CoordinatorState(
            fleet=self._fleet.name,
            record=self._fleet.keys.record_bytes,
            session=self._memory.session,
            era=self._memory.era,
            roster=admission.roster_version(self._store),
            time=int(self._now()),
            online=online,
        )
        return sign(state, self._identity)

    def _take_wishes(self, now: float) -> None:
        for row in self._store.members():
            if not row.revoked or row.id in self._cast_out:
                continue
            self._cast_out.add(row.id)
            self._jobs.departed(row.id, now)
            if self._presence.knows(row.id):
                self._presence.drop(row.id)
                self._tell_revoked(row.id)
                self._notices.say(now, f"{row.id} was revoked; job keys are new")
                self._post.publish(self.topics.coordinator, self._state(online=True))
        self._accounts_due = True
        self._jobs.load(now)

    def _sync_accounts(self, now: float) -> None:
        if self._on_accounts is not None:
            self._on_accounts(admission.accounts(self._store, self._fleet.keys, now))
