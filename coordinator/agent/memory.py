"""Answers by question: what was asked once is not worked out again."""

from collections import OrderedDict
from collections.abc import Iterable

from coordinator.agent.engine import Answer

MOST = 20_000
"""Answers kept, the longest unused is dropped first: some 10 MB."""

Key = tuple[str, str]
"""Prefix and question."""


class Memory:
    """Of one agent; another adapter's answers are another memory's."""

    def __init__(self, most: int = MOST) -> None:
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._answers)

    def of(self, keys: Iterable[Key]) -> dict[Key, Answer]:
        """Answers that are here."""
        found = {key: self._answers[key] for key in keys if key in self._answers}
        for key in found:
            self._answers.move_to_end(key)
        return found

    def put(self, key: Key, answer: Answer) -> None:
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)

    def missing(self, keys: Iterable[Key]) -> list[Key]:
        """Those without an answer, each once."""
        return [key for key in dict.fromkeys(keys) if key not in self._answers]
