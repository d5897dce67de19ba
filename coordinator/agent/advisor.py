"""The agent as a running coordinator asks it: beside the loop, within its time, never required.

A thread of its own works out what is new; the loop asks again until all is there or time is up.
The hand rule decides where no answer came, and the plan says why.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from coordinator.agent.asking import advice_of, asking
from coordinator.agent.engine import BASE, Mind, open_mind
from coordinator.agent.memory import Key, Memory
from coordinator.jobstate import JobState
from coordinator.selection.advice import Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.request import Request
from proto.errors import QfleetError
from quantization.runtime.scoring import TOGETHER, Engine

OPEN_AGAIN = 300.0
"""Seconds until a model that could not be opened is tried again: somebody may have fetched it."""

logger = logging.getLogger("coordinator")


@dataclass(slots=True)
class Pupil:
    """One adapter in use, with what it answered so far."""

    adapter: str
    memory: Memory = field(default_factory=Memory)
    mind: Mind | None = None
    error: str = ""
    failed_at: float = 0.0
    work: "Future[None] | None" = None
    since: float | None = None
    """When the present round first asked."""

    @property
    def busy(self) -> bool:
        """Whether its questions are being worked on."""
        return self.work is not None and not self.work.done()


class Agent:
    """Opens an adapter when a job first asks for it; works `beside` its caller, or at once."""

    def __init__(self, engine: Engine = "auto", base: str = BASE, *, beside: bool = True) -> None:
        self._engine: Engine = engine
        self._base = base
        self._pupils: dict[str, Pupil] = {}
        self._open = ExitStack()
        self._thread = ThreadPoolExecutor(1, "agent") if beside else None
        self._over = False

    def thinking(self, state: JobState, now: float) -> bool:
        """Whether a question is being worked on, and there is time left for it."""
        pupil = self._pupils.get(state.rules.adapter)
        return (
            pupil is not None
            and pupil.busy
            and pupil.since is not None
            and now <= pupil.since + state.rules.constants.agent.seconds
        )

    def advise(
        self, state: JobState, candidates: Sequence[Candidate], request: Request, now: float
    ) -> Advice | None:
        """None while it is still thinking: ask again. `now` is seconds."""
        pupil = self._pupil(state.rules.adapter)
        if pupil.since is None:
            pupil.since = now
        seconds = request.constants.agent.seconds
        while True:
            if self.thinking(state, now):
                return None
            if pupil.busy:
                found: Advice | list[Key] = Advice(
                    remark=f"the agent took longer than {seconds:g} s"
                )
            else:
                try:
                    found = self._look(pupil, state, candidates, request, now)
                except Exception as error:  # as in `_think`
                    logger.exception("the agent failed")
                    found = Advice(remark=f"the agent failed: {error}")
            if isinstance(found, Advice):
                pupil.since = None
                return found
            self._begin(pupil, found, now)

    def close(self) -> None:
        """Give everything back, once the question that is being answered is: not waited for."""
        if self._over:
            return
        self._over = True
        if self._thread is None:
            self._open.close()
        else:
            self._thread.submit(self._open.close)
            self._thread.shutdown(wait=False)

    def _pupil(self, adapter: str) -> Pupil:
        return self._pupils.setdefault(adapter, Pupil(adapter))

    def _look(
        self,
        pupil: Pupil,
        state: JobState,
        candidates: Sequence[Candidate],
        request: Request,
        now: float,
    ) -> Advice | list[Key]:
        """The advice, or questions to work on first: none of them where the model is not open."""
        if self._over:
            return Advice(remark="the agent was closed")
        if pupil.error and now < pupil.failed_at + OPEN_AGAIN:
            return Advice(remark=pupil.error)
        if pupil.mind is None or pupil.error:
            return []
        asked = asking(state, candidates, request, pupil.mind)
        missing = pupil.memory.missing(asked.keys)
        most = request.constants.agent.prompts
        if not missing:
            return advice_of(asked, pupil.memory.of(asked.keys))
        if most and len(missing) > most:
            # They are worked out round by round, until one has all it needs.
            self._begin(pupil, missing[:most], now)
            words = f"the agent had {len(missing)} new questions to answer, {most} are allowed"
            return Advice(remark=words, edges=asked.edges)
        return missing

    def _begin(self, pupil: Pupil, keys: list[Key], now: float) -> None:
        pupil.error, pupil.failed_at = "", now
        if self._thread is None:
            self._think(pupil, keys)
        else:
            pupil.work = self._thread.submit(self._think, pupil, keys)

    def _think(self, pupil: Pupil, keys: list[Key]) -> None:
        """Open the model where it is not, then answer. What goes wrong is told in the plan."""
        try:
            if pupil.mind is None:
                pupil.mind = self._open.enter_context(
                    open_mind(pupil.adapter, self._engine, self._base)
                )
            for prefix, group in groupby(sorted(keys), key=itemgetter(0)):
                questions = [question for _, question in group]
                for start in range(0, len(questions), TOGETHER):
                    if self._over:
                        return
                    part = questions[start : start + TOGETHER]
                    for question, answer in zip(part, pupil.mind.answer(prefix, part), strict=True):
                        pupil.memory.put((prefix, question), answer)
        except QfleetError as error:
            pupil.error = f"the agent cannot answer: {error}"
        except ImportError as error:
            pupil.error = f"the agent needs pip install 'qfleet[adapter]': {error}"
        except Exception as error:  # a planner must not take the coordinator down
            logger.exception("the agent failed")
            pupil.error = f"the agent failed: {error}"
