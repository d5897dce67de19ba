"""What the planning agent costs a coordinator: CPU of questions, of a plan, memory; both engines.

And how far the two engines' answers are apart.

    python benchmarks/agent_cost.py [--json]

Each engine runs in a process of its own with all that a coordinator imports. A thousand boxes, all
within a round's coverage, were answered for before; one in twenty has changed since. Needs the base
model (`quantize pull smollm2-135m`); llama.cpp is left out where it is not installed.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

BOXES, CHANGED, COHORT = 1000, 50, 400
LIMITS = {
    "fresh_ms": 150.0,
    "cached_ms": 1.0,
    "plan_cpu_s": 10.0,
    "rss_mb": {"llama": 400.0, "onnx": 650.0},
}
LINES = (
    "mmcblk0: card stuck in programming state for general purpose",
    "blk_update_request: I/O error, dev mmcblk0",
    "systemd-journald: failed to write entry, ignoring",
)


def fleet(changed: int = 0):  # noqa: ANN201 - candidates, imported late
    """Boxes that have all a question can hold; the first `changed` ones say something new."""
    from coordinator.selection.candidates import Candidate, Past
    from proto.messages import Resources

    found = []
    for at in range(BOXES):
        note = f"careful with what it stores, {'new' if at < changed else 'old'} card {at}"
        board = Resources(
            battery=30 + at % 70,
            charging=bool(at % 2),
            ram_free_mib=100 + 37 * at,
            cpu_load=at % 100,
            temperature_c=30 + at % 40,
            link_kbps=50 * (1 + at),
            link_loss=at % 9,
            note=note,
            journal=tuple(
                f"{1 + at % 50} min ago: unit{'abcdefghijkl'[at % 12]} {line}" for line in LINES
            ),
        )
        past = Past(asked=3, delivered=2, last_asked=1, seconds=5.0 + at % 50, steps=10)
        found.append(Candidate(f"b{at:04}", 20 + at, 1, board, None, past))
    return tuple(found)


def cpu(work) -> float:  # noqa: ANN001 - any call
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(engine: str) -> dict[str, Any]:
    """One engine, in this process."""
    from msgspec.structs import replace

    import coordinator.daemon  # noqa: F401 - all that a coordinator holds
    from coordinator.agent.advisor import Agent
    from coordinator.agent.asking import asking
    from coordinator.agent.engine import Answer
    from coordinator.jobstate import Consider, Rules, new_job, request_of
    from coordinator.selection.plan import plan

    rules = Rules(
        rounds=9,
        cohort=COHORT,
        quorum=2,
        deadline=120.0,
        gather=1.0,
        scorer="agent",
        seed=0,
        steps=10,
    )
    state = new_job("job", rules, moments=False)
    agent = Agent(engine, beside=False)  # type: ignore[arg-type]
    first = fleet()
    opening = cpu(lambda: agent._begin(agent._pupil(""), [], 0.0))  # noqa: SLF001
    pupil = agent._pupil("")  # noqa: SLF001
    mind = pupil.mind
    assert mind is not None, pupil.error
    asked = asking(state, first, request_of(state, Consider(first, 2)), mind)
    for key in asked.keys:
        pupil.memory.put(key, Answer(0.5, (0.25,) * 4, (0.25,) * 4))
    questions = list(asked.boxes.values())
    tokens = [mind.length(question) for question in questions]
    longest = sorted(questions, key=mind.length)[-33:]
    mind.answer(asked.prefix, longest[:1])
    said: list[float] = []
    fresh = cpu(lambda: said.extend(a.odds for a in mind.answer(asked.prefix, longest[1:]))) / 32

    state = replace(state, edges=asked.edges)

    def advised(boxes):  # noqa: ANN001, ANN202
        return agent.advise(state, boxes, request_of(state, Consider(boxes, 2)), 0.0)

    cached = cpu(lambda: advised(first)) / BOXES
    second = fleet(CHANGED)
    whole = cpu(
        lambda: plan(second, request_of(state, Consider(second, 2, advice=advised(second))))
    )
    agent.close()
    return {
        "tokens_most": max(tokens),
        "tokens_of_the_fresh": sum(map(mind.length, longest[1:])) / 32,
        "opening_cpu_s": round(opening, 2),
        "fresh_ms": round(1000 * fresh, 1),
        "cached_ms": round(1000 * cached, 3),
        "plan_cpu_s": round(whole, 2),
        "odds": said,
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.engine:
        print(json.dumps(measure(asked.engine)))
        return
    engines = ["onnx", *(["llama"] if find_spec("llama_cpp") else [])]
    found = {}
    for engine in engines:
        words = [sys.executable, __file__, "--engine", engine]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found[engine] = json.loads(done.stdout)
    told = [figures.pop("odds") for figures in found.values()]
    apart = [abs(a - b) for a, b in zip(*told, strict=True)] if len(told) > 1 else []
    result = {"boxes": BOXES, "changed": CHANGED, "limits": LIMITS, "engines": found}
    result["log_odds_apart"] = (
        {"mean": sum(apart) / len(apart), "most": max(apart)} if apart else None
    )
    if asked.json:
        print(json.dumps(result))
        return
    for engine, figures in found.items():
        print(engine, *(f"{name} {value}" for name, value in figures.items()), sep="  ")
    if apart:
        mean, most = result["log_odds_apart"].values()
        print(f"their log-odds are {mean:.3f} apart, {most:.3f} at most")


if __name__ == "__main__":
    main()
