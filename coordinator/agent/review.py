"""Past decisions of an agent, explained: it is opened again with the adapter it had."""

import msgspec

from coordinator.agent.engine import BASE, open_mind
from coordinator.agent.explain import explain, parts_told
from coordinator.jobstate import JobState
from coordinator.reports import Report
from coordinator.selection.advice import Part
from coordinator.store import Store
from proto.errors import ConfigError


def explained(store: Store, job: str, rows: list[Report], base: str = BASE) -> list[Report]:
    """The same decisions, the newest one that an agent made with the words that mattered most.

    Words are told of the boxes it chose: `word`, and `effect` in nats on the log-odds of being
    asked; before them what its numbers, the aim and all its words came to. Raises ConfigError where
    no agent had a say, or its model is not here.
    """
    asked = [row for row in rows if (row["questions"] or row["parts"]) and not row["fallback"]]
    if not asked:
        raise ConfigError(f"no agent decided these rounds of {job}: there are no words to explain")
    row, state = asked[-1], store.job(job)
    assert state is not None
    rules = msgspec.json.decode(state.state, type=JobState).rules
    chosen = {box: row["questions"][box] for box in row["cohort"] if box in row["questions"]}
    parts = msgspec.convert(row["parts"], dict[str, Part])
    with open_mind(rules.adapter, base=base) as mind:
        found = explain(mind, row["prefix"], chosen)
    words = {
        box: [
            {"word": word.text, "effect": word.effect}
            for word in (*(parts_told(parts[box]) if box in parts else ()), *found.get(box, ()))
        ]
        for box in row["cohort"]
    }
    return [{**row, "words": words} if row is asked[-1] else row for row in rows]
