"""The shell round the round table: runs every job, carries its actions out, keeps what it must.

Everything here happens inside the caller's unit of work. Folding and publishing wait for the next
unit (`run_later`), so that each phase is on disk before its work begins.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec
from msgspec.structs import replace

from coordinator import folding
from coordinator.considering import LOOK_AGAIN, Advisor, consideration
from coordinator.job import Job, asks, job_of, model_row, part_of, told
from coordinator.jobstate import (
    Action,
    Answered,
    BoxReady,
    CloseMissed,
    Departed,
    EraBegan,
    Event,
    Fold,
    Folded,
    FoldFailed,
    JobState,
    OfferTo,
    Open,
    Phase,
    Publish,
    Published,
    Restarted,
    ResumeAsked,
    Say,
    StopAsked,
    Tick,
    UpdateStored,
)
from coordinator.kinds import first_shared
from coordinator.notices import Notices
from coordinator.post import Post
from coordinator.presence import Opened, Presence
from coordinator.rounds import step, wake
from coordinator.selection.plan import Plan
from coordinator.store import Row, Store
from coordinator.teacher import features_of
from proto.errors import RemoteError
from proto.identity import Identity, sign
from proto.messages import (
    DUPLICATE,
    MOMENTS,
    REFUSED,
    STORED,
    Enlistment,
    Piece,
    Pull,
    Receipt,
    Report,
    Update,
)
from proto.pieces import Piles


class Jobs:
    """All jobs of one coordinator."""

    def __init__(
        self, store: Store, notices: Notices, presence: Presence, post: Post, identity: Identity
    ) -> None:
        self._store = store
        self._notices = notices
        self._presence = presence
        self._post = post
        self._identity = identity
        self._jobs: dict[str, Job] = {}
        self._later: deque[partial[None]] = deque()
        self._up: dict[int, int] = {}
        self._piles = Piles()
        self.tell: Callable[[float, JobState, Event], None] | None = None
        """Told of every event before a job's table takes it."""
        self.advisor: Advisor | None = None

    # --- what the service calls ---

    def load(self, now: float) -> None:
        """Take up jobs this process does not know yet, and what other processes asked for."""
        for row in self._store.jobs():
            job = self._jobs.get(row.id)
            if job is None and row.phase != Phase.FINISHED.value:
                self._take_up(row, now)
            elif job is not None and job.key != row.key:
                job.key = row.key
                self._refresh(job)
                for box in job.state.pending:  # the blobs it was offered are gone
                    self._dispatch(job, BoxReady(box), now)
            if row.asked and row.id in self._jobs:
                event = StopAsked() if row.asked == "stop" else ResumeAsked()
                self._store.change_job(row.id, asked="")
                self._dispatch(self._jobs[row.id], event, now)

    def known(self, job: str) -> JobState | None:
        """The job's state, while it is not finished."""
        return self._jobs[job].state if job in self._jobs else None

    def announce(self) -> None:
        """Publish every job's task (again)."""
        for name, job in self._jobs.items():
            topic = self._post.topics.job(name, "task")
            self._post.publish(topic, sign(job.task, self._identity))

    def tick(self, now: float) -> None:
        for job in list(self._jobs.values()):
            self._dispatch(job, Tick(), now)
            if self._due(job, now):
                here = self._presence.reachable(now)
                event = consideration(self._store, job, here, self.advisor, now)
                if event is None:
                    job.again = now + LOOK_AGAIN
                    continue
                job.dirty, job.considered = False, now
                self._dispatch(job, event, now)

    def run_later(self, now: float) -> bool:
        """Do one piece of work that waited for the last unit; whether there was one."""
        if not self._later:
            return False
        self._later.popleft()(now)
        return True

    def wake(self, now: float) -> float | None:
        """When `tick` has something to do again."""
        times = []
        for job in self._jobs.values():
            at = wake(job.state)
            if job.state.phase is Phase.COLLECTING and at is not None:
                times.append(at)
            elif job.state.phase is Phase.WAITING and (job.dirty or (at or 0) > job.considered):
                times.append(max(at or now, job.again, now))
        return now if self._later else min(times, default=None)

    def ready(self, box: str, now: float) -> None:
        """A box has exchanged keys: it may have missed an offer."""
        for job in self._jobs.values():
            job.dirty = True
            self._dispatch(job, BoxReady(box), now)

    def report(self, box: str, message: Report, now: float) -> None:
        job = self._of_turn(message.turn)
        if job is not None:
            if not message.accepted:
                text = f"{box} declined {job.state.title}: {message.reason}"
                self._notices.say(now, text, job.state.job)
            self._dispatch(job, Answered(box, message.turn, message.accepted), now)

    def enlist(self, box: str, message: Enlistment, now: float) -> None:
        job = self._jobs.get(message.job)
        if job is None or job.task_id != message.task:
            return
        if job.rows.get(box) != message.rows:
            self._store.enlist(message.job, box, message.rows, message.reason)
            job.rows[box] = message.rows
            job.dirty = True
            if not message.rows:
                text = f"{box} takes no part: {message.reason}"
                self._notices.say(now, text, message.job)
        # A box that has just come back heeds no offer before it has looked through its rows.
        self._dispatch(job, BoxReady(box), now)

    def update(self, box: str, opened: Opened, size: int, now: float) -> tuple[int, str]:
        """Take an update: stored, already known, or refused and why."""
        message = opened.message
        assert isinstance(message, Update)
        job = self._of_turn(message.turn)
        if job is None:
            return self._refused(message, f"turn {message.turn} is over")
        try:
            job.check(box, message)
        except RemoteError as error:
            return self._refused(message, str(error))
        if not self._keep(box, opened, now):
            return DUPLICATE, "it, or another update of this box and turn, is here already"
        self._up[message.turn] = self._up.get(message.turn, 0) + size
        self._dispatch(job, UpdateStored(box, message.turn), now)
        return STORED, ""

    def piece(self, box: str, message: Piece, size: int) -> tuple[Update | None, str]:
        """Part of a large update: the whole once all have come, or why none is wanted."""
        job = self._of_turn(message.turn)
        if job is None or not job.awaits(box):
            self._piles.drop(box)
            return None, f"turn {message.turn} is over"
        self.add_bytes_up(message.turn, size)
        return self._piles.add(box, message), ""

    def _refused(self, message: Update, why: str) -> tuple[int, str]:
        return (DUPLICATE, "") if self._store.knows_update(message.id) else (REFUSED, why)

    def pull(self, box: str, message: Pull) -> None:
        """Publish the asked-for parts of a blob that is on offer, within reason."""
        job = next((j for j in self._jobs.values() if j.holds(message.address)), None)
        if job is None:
            raise RemoteError("asks for a blob that is not on offer")
        for part, data in job.parts(box, message):
            self._post.blob(message.address, part, data, job.state.turn)

    def departed(self, box: str, now: float) -> None:
        for job in self._jobs.values():
            self._dispatch(job, Departed(box), now)

    def count_late(self) -> None:
        """Put what left after its round was closed, acks for one, to the round's account."""
        open_turns = {job.state.turn for job in self._jobs.values()}
        for turn in [turn for turn in self._post.down if turn and turn not in open_turns]:
            self._store.count_bytes(turn, 0, self._post.down.pop(turn))

    def era_began(self, now: float) -> None:
        for job in self._jobs.values():
            self._dispatch(job, EraBegan(), now)

    def add_bytes_up(self, turn: int, size: int) -> None:
        """Count a report's bytes towards its turn, if that is open."""
        if self._of_turn(turn) is not None:
            self._up[turn] = self._up.get(turn, 0) + size

    # --- carrying actions out ---

    def _dispatch(self, job: Job, event: Event, now: float) -> None:
        before = job.state
        if self.tell:
            self.tell(now, before, event)
        job.state, actions = step(before, event, now)
        if job.state is not before and replace(before, members=job.state.members) != job.state:
            self._store.save_state(job.state)
        for action in actions:
            self._do(job, action, now)

    def _do(self, job: Job, action: Action, now: float) -> None:
        match action:
            case Open(plan):
                self._open(job, plan, now)
            case OfferTo(box, seconds, steps):
                offer = job.offer(seconds, steps, self._counted(job, box))
                self._post.to_box(box, offer, job.state.turn)
            case Fold():
                self._later.append(partial(self._fold, job))
            case Publish():
                self._later.append(partial(self._publish, job))
            case CloseMissed():
                self._close(job, now, outcome="missed")
                self._store.drop_payloads(job.state.turn)
            case Say(text):
                self._notices.say(now, text, job.state.job)

    def _counted(self, job: Job, box: str) -> int:
        """What a box with a residual must know: whether its last update is in the model."""
        if not job.task.training.feedback:
            return 0
        job.history.catch_up(self._store, job.state.job, job.state.rules.deadline)
        return job.history.counted.get(box, 0)

    def _open(self, job: Job, plan: Plan, now: float) -> None:
        state = job.state
        self._store.set_count("turn", state.turn)
        job.open_round()
        self._store.open_round(
            {
                "turn": state.turn,
                "job": state.job,
                "round": state.round,
                "kind": state.kind,
                "opened": now,
                "plan": msgspec.json.encode(plan),
            }
        )
        self._notices.say(now, asks(state, plan), state.job)

    def _fold(self, job: Job, now: float) -> None:
        state = job.state
        model = self._store.model(state.job, "model")
        try:
            counted, server = set(state.updated), self._server(job)
            start = model.data if model else b""
            with self._store.updates(state.turn) as rows:
                parts = (part_of(row) for row in rows if row.box in counted)
                result = folding.fold(job.task, state.kind, start, parts, server)
        except RemoteError as error:
            self._dispatch(job, FoldFailed(str(error)), now)
            return
        if result.data:
            if state.kind == MOMENTS:
                blob = features_of(self._store, job.task, result.data)
                self._save_model(job, "features", blob)
            else:
                self._save_model(job, "model", result.data)
        if result.state:
            self._store.save_model(model_row(job, "server", result.state))
        figures = msgspec.json.encode(result.figures)
        self._close(job, now, outcome="done", included=result.included, result=figures)
        self._store.drop_payloads(state.turn)
        f = result.figures
        folded = Folded(f.validation_loss, f.validation_accuracy, f.teacher_loss, f.distance)
        self._dispatch(job, folded, now)
        self._notices.say(now, told(state, result), state.job)
        if result.remark:
            self._notices.say(now, result.remark, state.job)

    def _close(self, job: Job, now: float, **values: object) -> None:
        turn = job.state.turn
        model = job.model.digest if job.model else b""
        self._store.change_round(turn, closed=now, model=model, **values)
        self._store.count_bytes(turn, self._up.pop(turn, 0), self._post.down.pop(turn, 0))

    def _publish(self, job: Job, now: float) -> None:
        state = job.state
        if job.model is not None:
            receipt = Receipt(
                fleet=job.task.fleet,
                job=state.job,
                round=state.round,
                turn=state.turn,
                model=job.model.digest,
                included=len(state.updated),
            )
            topic = self._post.topics.job(state.job, "receipt")
            self._post.publish(topic, sign(receipt, self._identity))
        self._dispatch(job, Published(), now)
        job.dirty = True
        if job.state.phase is Phase.FINISHED:
            self._store.count_bytes(state.turn, 0, self._post.settle(state.turn))
            # No box need look at it any more; an empty payload takes the retained task away.
            del self._jobs[state.job]
            self._post.publish(self._post.topics.job(state.job, "task"), b"")

    # --- small parts ---

    def _take_up(self, row: Row, now: float) -> None:
        job = self._jobs[row.id] = job_of(row, self._store.enlisted(row.id))
        state, task = job.state, job.task
        if self._store.model(row.id, "model") is None:
            self._save_model(job, "model", folding.first_model(task, state.rules.seed))
            if shared := first_shared(task, state.rules.seed):
                self._save_model(job, "features", shared)
        self._refresh(job)
        self._post.publish(self._post.topics.job(row.id, "task"), sign(task, self._identity))
        self._dispatch(job, Restarted(), now)
        for member in self._store.members():
            if member.revoked:
                self._dispatch(job, Departed(member.id), now)
        # Answers are not written down one by one; who delivered, the updates themselves tell.
        for box in self._store.senders(state.turn):
            self._dispatch(job, UpdateStored(box, state.turn), now)

    def _save_model(self, job: Job, kind: str, data: bytes) -> None:
        self._store.save_model(model_row(job, kind, data))
        job.encrypt(kind, data)

    def _server(self, job: Job) -> folding.Server:
        """The aggregation's state is in the store like the model, saved in the same unit."""
        stateful = job.state.rules.aggregation in folding.STATEFUL
        row = self._store.model(job.state.job, "server") if stateful else None
        return folding.server_of(job.state.rules, row.data if row else b"")

    def _refresh(self, job: Job) -> None:
        """Encrypt what the store holds for the next offers."""
        for kind in ("model", "features"):
            if (row := self._store.model(job.state.job, kind)) is not None:
                job.encrypt(kind, row.data)

    def _keep(self, box: str, opened: Opened, now: float) -> bool:
        message = opened.message
        assert isinstance(message, Update)
        return self._store.add_update(
            {
                "id": message.id,
                "turn": message.turn,
                "box": box,
                "rows": message.rows,
                "payload": message.payload,
                "metrics": msgspec.msgpack.encode(message.metrics),
                "received": now,
                "epoch": opened.epoch,
                "sequence": opened.sequence,
            }
        )

    def _due(self, job: Job, now: float) -> bool:
        state = job.state
        if state.phase is not Phase.WAITING or now < max(state.not_before, job.again):
            return False
        return job.dirty or state.not_before > job.considered

    def _of_turn(self, turn: int) -> Job | None:
        for job in self._jobs.values():
            if turn and job.state.turn == turn:
                return job
        return None
