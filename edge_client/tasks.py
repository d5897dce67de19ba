"""The signed tasks a box knows: the newest of each job."""

from proto.errors import RemoteError, SealError
from proto.identity import body_of, open_signed, task_id
from proto.messages import Task
from proto.models import check_model

MAX_UNPROVEN = 16


class Tasks:
    """Tasks by id, the first half of their body's hash; offers name them so."""

    def __init__(self, fleet: str) -> None:
        self._fleet = fleet
        self._known: dict[bytes, tuple[Task, bytes]] = {}
        self._unproven: dict[str, bytes] = {}

    def take(self, job: str, payload: bytes, key: bytes) -> tuple[Task, bytes]:
        """A task signed by `key`, and its id. Raises SealError, RemoteError."""
        try:
            task, body, id_ = self._read(payload, key)
        except SealError:
            # It may be signed by a newer key whose record has not come yet.
            if len(self._unproven) < MAX_UNPROVEN:
                self._unproven[job] = payload
            raise
        if task.job != job or task.fleet != self._fleet:
            raise SealError(f"a task on a topic that is not its own: {job}")
        if any(t.job == job and t.serial > task.serial for t, _ in self._known.values()):
            raise RemoteError(f"an old task for {job}: serial {task.serial}")
        self._known = {k: v for k, v in self._known.items() if v[0].job != job}
        self._known[id_] = (task, body)
        return task, id_

    @staticmethod
    def read(payload: bytes, key: bytes) -> tuple[Task, bytes, bytes]:
        """A task signed by `key`, its body and its id. Raises SealError, RemoteError."""
        task = open_signed(payload, Task, key)
        check_model(task.model)
        body = body_of(payload)
        return task, body, task_id(body)

    def _read(self, payload: bytes, key: bytes) -> tuple[Task, bytes, bytes]:
        return self.read(payload, key)

    def unproven(self) -> dict[str, bytes]:
        """Tasks that no key known so far had signed, to be taken again."""
        waiting, self._unproven = self._unproven, {}
        return waiting

    def body(self, id_: bytes) -> bytes | None:
        """The encoded task, for the training process."""
        known = self._known.get(id_)
        return known[1] if known else None

    def job(self, id_: bytes) -> str | None:
        return self._known[id_][0].job if id_ in self._known else None
