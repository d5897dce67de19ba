"""A student that leads emulated fleets while a teacher writes down what it would have chosen.

Students that only saw their teacher's rounds never saw their own mistakes (Ross, Gordon and Bagnell
2011, "A reduction of imitation learning and structured prediction to no-regret online learning",
arXiv 1011.0686).
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.json import encode
from msgspec.structs import replace

from coordinator.agent.advisor import Agent
from coordinator.agent.engine import judge_beside, open_mind, stop_beside
from coordinator.jobstate import JobState
from coordinator.selection.advice import Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.plan import field_of
from coordinator.selection.request import Request
from coordinator.selection.scorers import SCORERS
from coordinator.selection.weights import Weights
from coordinator.weightsfile import read_weights
from firmware_sim.begun import short_digest
from firmware_sim.codekey import code_key
from firmware_sim.scenario import Scenario

ROOT = Path(__file__).parents[1]
AGENT_CODE = ("coordinator/agent/*.py",)
Lead = Callable[[JobState, Sequence[Candidate], Request], Advice]


def lead_of(path: Path) -> Lead:
    """Of an agent's .gguf, or of a linear student's or trees' .json. Raises ConfigError."""
    return _agent(path) if path.suffix == ".gguf" else _numbers(path)


def known_lead(path: Path) -> str:
    """Its name, and which version of it and of an agent's code.

    Raises ConfigError for one that could not lead.
    """
    if path.suffix == ".gguf":
        with open_mind(str(path)):
            pass  # else the hand rule would lead every fleet in its place
        what = _agents(path) + code_key(ROOT, AGENT_CODE).encode()
    else:
        read_weights(path)
        what = _digest(path)
    return f"{path.name[:60]} {short_digest(what)}"


def known_scenario(scenario: Scenario) -> str:
    """Its name and which version of it, wherever it and the student that it names lie."""
    work = scenario.work
    if name := work.selection.weights:
        inside = work.weights is not None  # else an agent, and the name is where it lies
        told = "" if inside else _agents(Path(name)).hex()
        work = replace(work, selection=replace(work.selection, weights=told))
    return f"{scenario.name} {short_digest(encode(replace(scenario, work=work)))}"


def _agents(adapter: Path) -> bytes:
    """Of an agent's adapter, and of what lies beside it and decides with it."""
    parts = (adapter, judge_beside(adapter), stop_beside(adapter))
    return b"".join(_digest(part) for part in parts)


def _digest(path: Path) -> bytes:
    if not path.is_file():
        return bytes(32)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _numbers(path: Path) -> Lead:
    weights = read_weights(path)
    scorer = SCORERS["linear" if isinstance(weights, Weights) else "gbm"]

    def lead(_state: JobState, candidates: Sequence[Candidate], request: Request) -> Advice:
        asked = dataclasses.replace(request, weights=weights)
        return Advice(scores=scorer(field_of(candidates, request).covered, asked))

    return lead


def _agent(path: Path) -> Lead:
    agent, adapter = Agent(beside=False), str(path.resolve())

    def lead(state: JobState, candidates: Sequence[Candidate], request: Request) -> Advice:
        own = replace(state, rules=replace(state.rules, adapter=adapter))
        return agent.advise(own, candidates, request, 0.0) or Advice(remark="no answer")

    return lead
