"""What a language model is asked: what an owner's objective counts, and what a box's words tell.

With a judge of numbers beside it, the model reads the objective once a job, and of a box its own
words alone: a box without any is not asked about. Without a judge it is told the numbers in words.
A prefix holds nothing of any box, so that its part of the work is done once for a whole job.
How long a box has waited is not told: coverage is the plan's, and a prompt that does not change
from round to round is answered from the cache. Answers are read from the logits of labels alone; no
text that a model could write is ever acted on.
"""

from collections.abc import Mapping, Sequence

from coordinator.selection.edges import Edges
from coordinator.selection.features import Features
from coordinator.selection.fence import MAX_JOURNAL, MAX_NOTE, fenced, joined, plain
from coordinator.selection.gist import gist
from coordinator.selection.progress import words_of_progress
from coordinator.selection.words import words_of

DEFAULT_OBJECTIVE = "learn fast and waste no energy"
MAX_OBJECTIVE = 120
"""Characters."""
JOIN = (" no", " yes")
STEPS = (" few", " own", " more", " most")
"""One for each of SHARES (coordinator/selection/advice.py)."""
AIMS = {"time": " time", "energy": " energy", "bytes": " data", "fairness": " all"}
"""What an owner may count, and the token that says so: their chances are the prices."""
LABELS = (*JOIN, *STEPS, *AIMS.values())
"""What is read after a question, each a token of its own: whether to ask the box, and how many
steps it should do. Whether to stop is asked apart, and answered by JOIN; what counts, by AIMS."""
ASKED = "\nask it?"
STOPPED = "\nenough?"
COUNTS = "what counts?"
"""Asked of the objective alone."""

OURS = "Boxes learn together.\n"
"""The prefix of questions about words: they mean the same whatever the objective."""
PREFIX = "Boxes learn together. Aim: {objective}\n"


def prefix_of(objective: str) -> str:
    """The part that is the same for all boxes of a job. The objective is the owner's sentence."""
    return PREFIX.format(objective=plain(objective, MAX_OBJECTIVE) or DEFAULT_OBJECTIVE)


def stop_question(values: Mapping[str, float | None]) -> str:
    """Whether the job has learned enough, from `progress`."""
    return words_of_progress(values) + STOPPED


def question_of(
    values: Features | None,
    edges: Edges,
    note: str = "",
    journal: Sequence[str] = (),
    *,
    room: int = MAX_JOURNAL,
) -> str:
    """The part about one box: its own words, fenced and capped, then its numbers in words.

    Without `values` nothing is told of its numbers, and of a box without words nothing is asked.
    `room` bounds the journal's characters further, where a prompt would be too long.
    """
    most = min(room, MAX_JOURNAL)
    parts = [
        fenced("log", joined(gist(journal, edges.routine), most), most),
        fenced("note", note, MAX_NOTE),
        "" if values is None else words_of(values, edges),
    ]
    told = [part for part in parts if part]
    return "\n".join(told) + ASKED if told or values is not None else ""
