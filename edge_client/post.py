"""What a box says under seal: what can wait a moment leaves in one frame with what cannot."""

from collections.abc import Callable

from edge_client.secure import Secure
from proto.bundling import Waiting, bundle
from proto.errors import SealError
from proto.messages import Letter


class Post:
    """Messages to the coordinator. `publish` takes a topic and a sealed frame.

    `now` never runs backwards.
    """

    def __init__(
        self,
        secure: Secure,
        topic: str,
        publish: Callable[[str, bytes], None],
        now: Callable[[], float],
    ) -> None:
        self._secure, self._topic, self._publish, self._now = secure, topic, publish, now
        self.waiting = Waiting()
        """When it is due, `tick` has something to send."""

    def send(self, message: Letter, wait: float = 0.0) -> None:
        """Seal and publish in `wait` seconds at the latest."""
        if not wait:
            self._leave([*self.waiting.take(), message])
            return
        now = self._now()
        self.waiting.add(message, now + wait)
        if self.waiting.due <= now:
            self._leave(self.waiting.take())

    def tick(self) -> None:
        """Send what is due."""
        if self.waiting.due <= self._now():
            self._leave(self.waiting.take())

    def _leave(self, messages: list[Letter]) -> None:
        """Without keys all is dropped: a new exchange has it said again."""
        try:
            frame = self._secure.seal(bundle(messages))
        except SealError:
            return
        self._publish(self._topic, frame)
