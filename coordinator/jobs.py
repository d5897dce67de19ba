"""The shell round the round table: runs every job, carries its actions out, keeps what it must.

Everything here happens inside the caller's unit of work. Folding and publishing wait for the next
unit (`run_later`), so that each phase is on disk before its work begins. What the store keeps of
rounds is written by `coordinator/books.py`.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from coordinator.books import Books
from coordinator.considering import LOOK_AGAIN, Advisor, consideration
from coordinator.job import Job, asks, job_of, late, told
from coordinator.jobstate import (
    Action,
    Answered,
    Ask,
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
from coordinator.notices import Notices
from coordinator.post import Post
from coordinator.presence import Presence
from coordinator.rounds import step, wake
from coordinator.store import Row, Store
from proto.errors import RemoteError
from proto.identity import Identity, sign
from proto.messages import (
    DUPLICATE,
    REFUSED,
    STORED,
    Enlistment,
    Piece,
    Pull,
    Report,
    Update,
)
from proto.pieces import Piles
from proto.sealing import Frame

_ANSWERS = frozenset({Answered, UpdateStored})
ASK_WAIT = 0.5
"""Seconds between two looks for boxes to ask in one turn: places freed together cost one look."""


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
        self._books = Books(store, post)
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
                self._books.encrypt(job)
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
                job.again = now + ASK_WAIT if job.state.hungry else job.again
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
            at = wake(job.state) if job.state.phase is Phase.COLLECTING else None
            times += [one for one in (at, _considers(job, now)) if one is not None]
        return now if self._later else min((max(at, now) for at in times), default=None)

    def ready(self, box: str, now: float) -> None:
        """A box has exchanged keys: it may have missed an offer."""
        for job in self._jobs.values():
            job.dirty = True
            self._dispatch(job, BoxReady(box), now)

    def report(self, box: str, message: Report, size: int, now: float) -> None:
        """A box's answer to an offer; of no account where its turn is over."""
        job = self._of_turn(message.turn)
        if job is None:
            return
        self._books.count(job.state.turn, size)
        if not message.accepted:
            text = f"{box} declined {job.state.title}: {message.reason}"
            self._notices.say(now, text, job.state.job)
        elif not job.awaits(box, message.turn):
            return  # its update is here already
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

    def update(
        self, box: str, message: Update, frame: Frame, size: int, now: float
    ) -> tuple[int, str]:
        """Take an update: stored, already known, or refused and why."""
        job = self._of_turn(message.turn)
        if job is None:
            return self._refused(message, self._too_late(message.turn))
        try:
            job.check(box, message)
        except RemoteError as error:
            return self._refused(message, str(error))
        if not self._books.keep(job, box, message, frame, now):
            return DUPLICATE, "it, or another update of this box and turn, is here already"
        self._books.count(job.state.turn, size)
        self._dispatch(job, UpdateStored(box, message.turn), now)
        return STORED, ""

    def whose(self, turn: int) -> str:
        """The job a turn was of; nothing where there was none."""
        row = self._store.round_of(turn)
        return row.job if row else ""

    def _too_late(self, turn: int) -> str:
        row = self._store.round_of(turn)
        job = self._jobs.get(row.job) if row else None
        return late(job.state, turn, row.round) if job and row else f"turn {turn} is over"

    def piece(self, box: str, message: Piece, size: int) -> tuple[Update | None, str]:
        """Part of a large update: the whole once all have come, or why none is wanted."""
        job = self._of_turn(message.turn)
        if job is None or not job.awaits(box, message.turn):
            self._piles.drop(box)
            return None, self._too_late(message.turn)
        self._books.count(job.state.turn, size)
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

    # --- carrying actions out ---

    def _dispatch(self, job: Job, event: Event, now: float) -> None:
        before = job.state
        if self.tell:
            self.tell(now, before, event)
        after, actions = step(before, event, now)
        job.become(after)
        if after is not before and _lasting(before, event, after):
            self._store.save_state(after)
        if len(after.members) < len(before.members) and after.hungry:
            job.dirty = True  # a place is free
        for action in actions:
            self._do(job, action, now)

    def _do(self, job: Job, action: Action, now: float) -> None:
        match action:
            case OfferTo():
                box = action.box
                offer = job.offer(box, action.seconds, action.steps, self._counted(job, box))
                self._post.to_box(box, offer, job.state.turn)
            case Open(plan):
                self._books.open(job, plan, now)
                self._notices.say(now, asks(job.state, plan), job.state.job)
            case Ask(plan):
                self._books.ask(job, plan)
            case Fold():
                self._later.append(partial(self._fold, job))
            case Publish():
                self._later.append(partial(self._publish, job))
            case CloseMissed():
                self._books.close(job, now, outcome="missed")
                self._store.drop_payloads(job.state.turn)
            case Say(text):
                self._notices.say(now, text, job.state.job)

    def _counted(self, job: Job, box: str) -> int:
        """What a box with a residual must know: whether its last update is in the model."""
        if not job.task.training.feedback:
            return 0
        job.history.catch_up(self._store, job.state.job, job.state.rules.deadline)
        return job.history.made.get(box, 0)

    def _fold(self, job: Job, now: float) -> None:
        try:
            result = self._books.fold(job, now)
        except RemoteError as error:
            self._dispatch(job, FoldFailed(str(error)), now)
            return
        state, f = job.state, result.figures
        folded = Folded(f.validation_loss, f.validation_accuracy, f.teacher_loss, f.distance)
        self._dispatch(job, folded, now)
        self._notices.say(now, told(state, result), state.job)
        if result.remark:
            self._notices.say(now, result.remark, state.job)

    def _publish(self, job: Job, now: float) -> None:
        state = job.state
        if (receipt := job.receipt()) is not None:
            topic = self._post.topics.job(state.job, "receipt")
            self._post.publish(topic, sign(receipt, self._identity))
        self._dispatch(job, Published(self._store.count("turn") + 1), now)
        job.dirty = True
        if job.state.phase is Phase.FINISHED:
            self._store.count_bytes(state.turn, 0, self._post.settle(state.turn))
            # No box need look at it any more; an empty payload takes the retained task away.
            del self._jobs[state.job]
            self._post.publish(self._post.topics.job(state.job, "task"), b"")

    # --- small parts ---

    def _take_up(self, row: Row, now: float) -> None:
        job = self._jobs[row.id] = job_of(row, self._store.enlisted(row.id))
        self._books.prepare(job)
        task = sign(job.task, self._identity)
        self._post.publish(self._post.topics.job(row.id, "task"), task)
        self._dispatch(job, Restarted(), now)
        for member in self._store.members():
            if member.revoked:
                self._dispatch(job, Departed(member.id), now)
        if not job.state.buffered:
            # Answers are not written down one by one; who delivered, the updates themselves tell.
            for box in self._store.senders(job.state.turn):
                self._dispatch(job, UpdateStored(box, job.state.turn), now)

    def _due(self, job: Job, now: float) -> bool:
        at = _considers(job, now)
        return at is not None and at <= now

    def _of_turn(self, turn: int) -> Job | None:
        for job in self._jobs.values():
            if turn and job.speaks_of(turn):
                return job
        return None


def _lasting(before: JobState, event: Event, after: JobState) -> bool:
    """Whether more has changed than what boxes have answered to offers."""
    if type(event) in _ANSWERS and after.phase is before.phase and after.members is before.members:
        return False
    if len(before.members) != len(after.members):
        return True
    return replace(before, members=after.members, answers=after.answers) != after


def _considers(job: Job, now: float) -> float | None:
    """When a job next wants to be told who is there; None while only an arrival can change that."""
    state = job.state
    if state.hungry:
        return max(now if job.dirty else state.look, job.again)
    if state.phase is not Phase.WAITING:
        return None
    if not job.dirty and state.not_before <= job.considered:
        return None
    return max(state.not_before, job.again)
