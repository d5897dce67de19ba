"""What the store keeps of jobs' rounds: opened, asked, filled, folded and closed; and their bytes.

Everything here happens inside the caller's unit of work.
"""

import msgspec

from coordinator import folding
from coordinator.job import Job, model_row
from coordinator.kinds import first_shared
from coordinator.post import Post
from coordinator.selection.plan import Plan, both
from coordinator.store import Store
from coordinator.stored import plan_of
from coordinator.teacher import features_of
from coordinator.updates import Kept
from proto.messages import MOMENTS, Update
from proto.sealing import Frame


class Books:
    """Of all jobs of one coordinator."""

    def __init__(self, store: Store, post: Post) -> None:
        self._store, self._post = store, post
        self._up: dict[int, int] = {}
        """Payload bytes from boxes, by the turn they are put to the account of."""

    # --- a round's life ---

    def open(self, job: Job, plan: Plan, now: float) -> None:
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
                "start": job.model.digest if job.model else None,
                "plan": msgspec.json.encode(plan),
            }
        )

    def ask(self, job: Job, plan: Plan) -> None:
        """Others are asked in the open round as well."""
        turn = job.state.turn
        row = self._store.round_of(turn)
        assert row is not None
        known = both(plan_of(row), plan)
        self._store.change_round(turn, plan=msgspec.json.encode(known))

    def keep(self, job: Job, box: str, message: Update, frame: Frame, now: float) -> bool:
        """Write an update down; False when it, or another of this box and turn, is there."""
        state = job.state
        member = state.member(box, message.turn) if job.buffered else None
        return self._store.add_update(
            Kept(
                id=message.id,
                turn=state.turn,
                made=message.turn,
                asked=member.asked if member else None,
                stale=state.round - member.round if member else 0,
                box=box,
                rows=message.rows,
                payload=message.payload,
                metrics=message.metrics,
                received=now,
                epoch=frame.epoch,
                sequence=frame.sequence,
            )
        )

    def fold(self, job: Job, now: float) -> folding.Result:
        """The round's updates to its result, stored; the round is closed. Raises RemoteError."""
        state = job.state
        model = self._store.model(state.job, "model")
        counted, server = set(state.updated), self._server(job)
        start = model.data if model else b""
        with self._store.updates(state.turn) as rows:
            parts = (row for row in rows if row.box in counted)
            result = folding.fold(job.task, state.kind, start, parts, server)
        if result.data:
            if state.kind == MOMENTS:
                blob = features_of(self._store, job.task, result.data)
                self._save_model(job, "features", blob)
            else:
                self._save_model(job, "model", result.data)
        if result.state:
            self._store.save_model(model_row(job, "server", result.state))
        figures = msgspec.json.encode(result.figures)
        self.close(job, now, outcome="done", included=result.included, result=figures)
        self._store.drop_payloads(state.turn)
        return result

    def close(self, job: Job, now: float, **values: object) -> None:
        turn = job.state.turn
        model = job.model.digest if job.model else b""
        self._store.change_round(turn, closed=now, model=model, **values)
        self._store.count_bytes(turn, self._up.pop(turn, 0), self._post.down.pop(turn, 0))

    def count(self, turn: int, size: int) -> None:
        """Put what a box sent to an open turn's account."""
        if size:
            self._up[turn] = self._up.get(turn, 0) + size

    # --- models ---

    def prepare(self, job: Job) -> None:
        """Have a job that is taken up ready to be offered."""
        state, task = job.state, job.task
        if self._store.model(state.job, "model") is None:
            self._save_model(job, "model", folding.first_model(task, state.rules.seed))
            if shared := first_shared(task, state.rules.seed):
                self._save_model(job, "features", shared)
        self.encrypt(job)

    def encrypt(self, job: Job) -> None:
        """Encrypt what the store holds for the next offers, and what boxes are at work on."""
        name = job.state.job
        for kind in ("model", "features"):
            if (row := self._store.model(name, kind)) is not None:
                job.encrypt(kind, row.data)
        for turn in job.state.turns if job.state.buffered else ():
            opened = self._store.round_of(turn)
            model = self._store.model_of(name, opened.start) if opened and opened.start else None
            if model is not None:
                job.encrypt_of(turn, model.data)

    def _save_model(self, job: Job, kind: str, data: bytes) -> None:
        self._store.save_model(model_row(job, kind, data))
        job.encrypt(kind, data)

    def _server(self, job: Job) -> folding.Server:
        """The aggregation's state is in the store like the model, saved in the same unit."""
        stateful = job.state.rules.aggregation in folding.STATEFUL
        row = self._store.model(job.state.job, "server") if stateful else None
        return folding.server_of(job.state.rules, row.data if row else b"")
