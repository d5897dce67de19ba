"""The box's shell: carries out what the session table says, and turns what arrives into events.

Single-threaded: the agent calls `handle` with whatever came (from the broker or the worker) and
`tick` when time has passed. The emulator calls the same two.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from edge_client import session, state
from edge_client.config import EdgeConfig
from edge_client.consent import objection_to_offer, objection_to_task
from edge_client.kit import Kit, on_disk
from edge_client.membership import Membership
from edge_client.news import News
from edge_client.post import Post
from edge_client.pulling import Pulling
from edge_client.refusals import Refusals
from edge_client.requests import (
    Assignment,
    Broken,
    Done,
    Finding,
    Inspection,
    Labour,
    Result,
)
from proto.bundling import unbundle
from proto.errors import QfleetError, RemoteError, SealError, StorageError, TransportError
from proto.identity import Identity, open_signed, task_id
from proto.messages import (
    MOMENTS,
    Ack,
    Enlistment,
    Gone,
    Offer,
    Report,
    Resources,
    Revoked,
)
from proto.pieces import letters
from proto.topics import Topics, from_base32
from proto.transport import Connected, Delivery, Disconnected, Incoming, Port, Will

YES_WAIT = 0.2
"""Seconds a yes to an offer may wait for the update."""
NO_ROOM = "its disk or its outbox is full"
"""What the coordinator is told; which path it is concerns the owner alone."""

HERE = state.Answer(0, accepted=True, reason="")
"""What is answered where no offer was made: this box is there, and how it fares."""

logger = logging.getLogger("edge_client")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a box is started with. `now` never runs backwards; `clock` is seconds since 1970."""

    home: Path
    member: Membership
    identity: Identity
    config: EdgeConfig
    now: Callable[[], float]
    clock: Callable[[], float]
    resources: Callable[[], Resources]
    draw: Callable[[int], bytes] = os.urandom
    """So many random bytes: the ids of updates."""


class Expelled(QfleetError):
    """This box was revoked: ask the fleet's owner for a new token."""


Method = TypeVar("Method", bound=Callable[..., None])

_HANDLERS: dict[type, Callable[..., None]] = {}
"""What takes a thing that arrives, and what carries an action of the table out.

By its class: `match` asks class by class, eight times an update. The functions are those of `Box`,
whatever a class that inherits from it calls the same.
"""


def _handles(kind: type) -> Callable[[Method], Method]:
    def register(method: Method) -> Method:
        _HANDLERS[kind] = method
        return method

    return register


class Box:
    """One box process."""

    def __init__(self, setting: Setting, kit: Kit | None = None) -> None:
        self._setting = setting
        self._home, self._member = str(setting.home), setting.member
        self._now = setting.now
        self.topics = Topics(self._member.fleet)
        clocks = setting.clock, setting.now
        kit = kit or on_disk(self._member, setting.identity, setting.home, clocks)
        self._coordinator, self._secure, self._spool = kit.allegiance, kit.secure, kit.spool
        self._pantry, self._tasks, self._newest = kit.pantry, kit.tasks, kit.newest
        self._inbox = self.topics.to_box(self._member.box, "m")
        topic = self.topics.from_box(self._member.box, "m")
        self._post = Post(self._secure, topic, self._publish, setting.now)
        self._pulling = Pulling(self._pantry, self.topics, self._post.send, setting.now)
        self._refusals, self._news = Refusals(setting.now), News()
        seen = self._spool.seen
        self.state = session.start(seen.era, seen.turns, self._spool.waiting())
        self._port: Port | None = None
        self._labour: Labour | None = None

    @property
    def will(self) -> Will:
        fleet, box = self._member.fleet, self._member.box
        gone = Gone(fleet=fleet, box=box, session=self._coordinator.session)
        return Will(self.topics.state(box), self._secure.sign(gone))

    def attach(self, port: Port, labour: Labour) -> None:
        """Use this connection, made with our `will`, and this place to train."""
        self._port, self._labour = port, labour
        self._pulling.attach(port)
        root, box = self.topics.root, self._member.box
        port.subscribe(self.topics.coordinator, f"{root}/dev/{box}/in/+", f"{root}/bc/+/task")

    def close(self) -> None:
        """Leave in good order: the coordinator learns it now, not from the will."""
        if self._port is not None:
            self._publish(self.will.topic, self.will.payload, retain=True)
            self._port.close()
        self._spool.close()

    # --- the loop's body ---

    def handle(self, thing: Incoming | Result) -> None:
        """Take one thing. A delivery is acked only after all it caused is on disk."""
        try:
            _HANDLERS[type(thing)](self, thing)
        except StorageError as error:
            logger.error("%s", error)  # noqa: TRY400 - its text says all
            if self.state.offer is not None:
                # A disk that refuses costs this turn; the coordinator must not wait for it.
                self._stop_work()
                self._step(state.Failed(self.state.offer.turn, NO_ROOM))
        except (RemoteError, SealError) as error:
            self._refusals.tell(str(error))
        if type(thing) is Delivery:
            assert self._port is not None
            self._port.ack(thing)

    def tick(self) -> None:
        """Time passed."""
        now = self._now()
        if session.wake(self.state) <= now:
            self._step(state.Tick())
        if self._pulling.due <= now:
            self._pulling.tick()
        if self._news.due <= now and self._news.any(self._setting.resources, now):
            self._post.send(self._report(HERE))
        if self._post.waiting.due <= now:
            self._post.tick()

    def due(self) -> float:
        """When `tick` has something to do; infinity when only an arrival can change anything."""
        waiting, asking, looking = self._post.waiting.due, self._pulling.due, self._news.due
        return min(session.wake(self.state), waiting, asking, looking)

    def wait(self) -> float | None:
        """Seconds until `tick` is due, or None when only an arrival can change anything."""
        due = self.due()
        return None if due == inf else max(0.0, due - self._now())

    def _step(self, event: state.Event) -> None:
        self.state, actions = session.step(self.state, event, self._now())
        for action in actions:
            _HANDLERS[type(action)](self, action)

    def _log_detail(self, detail: str) -> None:
        """What only this box's owner may read."""
        if detail:
            logger.warning("%s", detail)

    # --- what arrives ---

    @_handles(Delivery)
    def _delivery(self, delivery: Delivery) -> None:
        if delivery.topic != self._inbox:
            self._route(self.topics.parse(delivery.topic), delivery.payload)
            return
        message, era, first = self._secure.open(delivery.payload)
        if first:
            self._step(state.Secured(era))
        for item in unbundle(message):
            if isinstance(item, Ack):
                for id_, code, text in item.items:
                    self._step(state.Acked(id_, code, text))
            elif isinstance(item, Offer):
                objection = objection_to_offer(item, self._setting.config.policy)
                self._step(state.OfferSeen(item, objection))
            else:
                raise RemoteError(f"a {type(item).__name__} from the coordinator")

    @_handles(Connected)
    def _connected(self, _event: Connected) -> None:
        self._step(state.LinkUp())

    @_handles(Disconnected)
    def _disconnected(self, event: Disconnected) -> None:
        logger.warning("the broker is gone: %s", event.reason)
        self._step(state.LinkDown())

    @_handles(Finding)
    def _finding(self, finding: Finding) -> None:
        self._log_detail(finding.detail)
        id_ = task_id(finding.task)
        job = self._tasks.job(id_)
        if job is not None:
            self._step(state.Inspected(job, id_, finding.rows, finding.reason))

    @_handles(Broken)
    def _broken(self, broken: Broken) -> None:
        self._log_detail(broken.detail)
        self._step(state.Failed(broken.turn, broken.reason))

    def _route(self, levels: tuple[str, ...], payload: bytes) -> None:
        match levels:
            case ("coord", "state"):
                self._coordinator_state(payload)
            case ("dev", _, "in", "k"):
                self._key_offer(payload)
            case ("bc", job, "task"):
                if payload:  # else the job is over
                    self._task(job, payload)
            case ("blob", address, part):
                self._blob(from_base32(address), part, payload)
            case _:
                raise RemoteError("a topic nothing is expected on")

    def _coordinator_state(self, payload: bytes) -> None:
        seen, renewed = self._coordinator.hear(payload)
        if renewed:
            self._secure.forget()
            for job, data in self._tasks.unproven().items():
                self._task(job, data)
        self._step(state.CoordinatorSeen(seen.session, seen.era, seen.online))

    def _key_offer(self, payload: bytes) -> None:
        report, era = self._report(HERE), self.state.era
        try:
            accept = self._secure.accept(payload, self._coordinator.key, era, report)
        except SealError:
            raise
        except RemoteError:  # no offer of keys, then
            self._dismissal(payload)
            return
        if accept is not None:
            self._publish(self.topics.from_box(self._member.box, "k"), accept)

    def _dismissal(self, payload: bytes) -> None:
        notice = open_signed(payload, Revoked, self._coordinator.key)
        if notice.box == self._member.box and notice.fleet == self._member.fleet:
            raise Expelled(f"this box was revoked (roster {notice.roster}); ask for a new token")

    def _task(self, job: str, payload: bytes) -> None:
        task, id_ = self._tasks.take(job, payload, self._coordinator.key)
        objection = objection_to_task(task, self._setting.config.policy)
        self._step(state.TaskSeen(job, id_, objection))

    def _blob(self, address: bytes, part: str, payload: bytes) -> None:
        offer = self.state.offer
        if self._pulling.take(address, part, payload, offer) and offer is not None:
            self._step(state.Fetched(offer.turn))

    @_handles(Done)
    def _done(self, done: Done) -> None:
        update = done.update
        try:
            self._spool.put(update)
        except StorageError as error:
            logger.error("%s", error)  # noqa: TRY400 - its text says all
            self._step(state.Failed(done.turn, NO_ROOM))
            return
        self._step(state.Trained(done.turn, update.id, len(update.payload)))

    # --- what the table asks for ---

    @_handles(state.Answer)
    def _answer(self, action: state.Answer) -> None:
        wait = YES_WAIT if action.accepted else 0.0
        # Nobody waits for a yes: it may go with the update, when training takes no time.
        self._post.send(self._report(action), wait)

    @_handles(state.Inspect)
    def _inspect(self, action: state.Inspect) -> None:
        if body := self._tasks.body(action.task):
            config = self._setting.config
            assert self._labour is not None
            self._labour.submit(Inspection(body, config.data, config.adapter))

    @_handles(state.Enlist)
    def _enlist(self, action: state.Enlist) -> None:
        self._post.send(Enlistment(**structs.asdict(action)))

    @_handles(state.Forget)
    def _forget(self, action: state.Forget) -> None:
        self._spool.drop(action.id)

    @_handles(state.Remember)
    def _remember(self, action: state.Remember) -> None:
        self._spool.remember(action.era, action.turns)

    @_handles(state.Cancel)
    def _cancel(self, _action: state.Cancel) -> None:
        self._stop_work()

    @_handles(state.Say)
    def _say(self, action: state.Say) -> None:
        logger.info("%s", action.text)

    @_handles(state.GiveBirth)
    def _give_birth(self, _action: state.GiveBirth) -> None:
        kem = self._secure.kem_pair()
        birth = self._coordinator.birth(kem, self.state.era, self.state.highest)
        data = self._secure.birth(birth, kem)
        self._publish(self.topics.state(self._member.box), data, retain=True)

    @_handles(state.Fetch)
    def _fetch(self, action: state.Fetch) -> None:
        if self._pulling.begin(action.offer):
            self._step(state.Fetched(action.offer.turn))

    @_handles(state.Train)
    def _train(self, action: state.Train) -> None:
        offer, config = action.offer, self._setting.config
        model, features = self._pantry.open(offer)
        task = self._tasks.body(offer.task)
        if task is None:
            self._step(state.Failed(offer.turn, "its task was replaced meanwhile"))
            return
        if offer.kind != MOMENTS:
            self._newest.keep(offer, task, model, features)
        assert self._labour is not None
        self._labour.submit(
            Assignment(
                box=self._member.box,
                id=self._setting.draw(16),
                task=task,
                offer=offer,
                model=model,
                features=features,
                data=config.data,
                quantum=config.quantum,
                home=self._home,
                adapter=config.adapter,
            )
        )

    def _stop_work(self) -> None:
        self._pulling.stop()
        assert self._labour is not None
        self._labour.cancel()

    @_handles(state.Send)
    def _send_update(self, action: state.Send) -> None:
        try:
            update = self._spool.get(action.id)
        except StorageError as error:
            logger.error("an update is lost: %s", error)  # noqa: TRY400 - its text says all
            self._step(state.Acked(action.id, 2, str(error)))
            return
        for letter in letters(update):
            self._post.send(letter)

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand to the broker. What it will not take now is sent again in time."""
        assert self._port is not None
        try:
            self._port.publish(topic, payload, retain=retain)
        except TransportError as error:
            logger.warning("not sent: %s", error)

    def _report(self, answer: state.Answer) -> Report:
        resources = self._news.told(self._setting.resources(), self._now())
        reason = answer.reason[:200]
        return Report(
            turn=answer.turn, accepted=answer.accepted, reason=reason, resources=resources
        )
