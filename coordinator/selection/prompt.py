"""What a language model is asked about a box: a prefix that all share, and a few words on this one.

The prefix holds the objective and nothing of any box, so that its part of the work is done once for
a whole job. How long a box has waited is not told: coverage is the plan's, and a prompt that does
not change from round to round is answered from the cache. Answers are read from the logits of
labels alone; no text that a model could write is ever acted on.
"""

from collections.abc import Mapping, Sequence

from coordinator.selection.edges import Edges
from coordinator.selection.features import Features
from coordinator.selection.fence import MAX_JOURNAL, MAX_NOTE, fenced, joined, plain
from coordinator.selection.gauge import verdict
from coordinator.selection.gist import gist
from coordinator.selection.progress import words_of_progress
from coordinator.selection.weights import Weights
from coordinator.selection.words import words_of

DEFAULT_OBJECTIVE = "learn fast and waste no energy"
MAX_OBJECTIVE = 120
"""Characters."""
JOIN = (" no", " yes")
STEPS = (" few", " own", " more", " most")
"""One for each of SHARES (coordinator/selection/advice.py)."""
LABELS = (*JOIN, *STEPS)
"""What is read after a question, each a token of its own: whether to ask the box, and how many
steps it should do. Whether to stop is asked apart, and answered by JOIN."""
ASKED = "\nask it?"
STOPPED = "\nenough?"

PREFIX = "Boxes learn together. Aim: {objective}\n"


def prefix_of(objective: str) -> str:
    """The part that is the same for all boxes of a job. The objective is the owner's sentence."""
    return PREFIX.format(objective=plain(objective, MAX_OBJECTIVE) or DEFAULT_OBJECTIVE)


def stop_question(values: Mapping[str, float | None]) -> str:
    """Whether the job has learned enough, from `progress`."""
    return words_of_progress(values) + STOPPED


def question_of(
    values: Features,
    edges: Edges,
    note: str = "",
    journal: Sequence[str] = (),
    *,
    room: int = MAX_JOURNAL,
    gauge: Weights | None = None,
) -> str:
    """The part about one box: its own words, fenced and capped, then its numbers in words.

    `room` bounds the journal's characters further, where a prompt would be too long; `gauge` is a
    linear student whose verdict on the numbers is told with them.
    """
    most = min(room, MAX_JOURNAL)
    parts = [
        fenced("log", joined(gist(journal, edges.routine), most), most),
        fenced("note", note, MAX_NOTE),
        " ".join(filter(None, (verdict(values, gauge), words_of(values, edges)))),
    ]
    return "\n".join(part for part in parts if part) + ASKED
