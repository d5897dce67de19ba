"""Which words of a question mattered: each is left out, and the model is asked again.

Leave-one-out attribution (Li, Monroe and Jurafsky 2016, arXiv 1612.08220). It costs a question for
each word, so it is worked out only on request.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from coordinator.agent.engine import Mind
from coordinator.selection.advice import Part
from coordinator.selection.prompt import ASKED
from coordinator.selection.words import WORDS

_PAIRS = "|".join(
    f"{label} (?:{'|'.join(sorted(words, key=len, reverse=True))})(?: charging)?"
    for label, words in sorted(WORDS.values(), key=lambda pair: -len(pair[0]))
)
_PIECE = re.compile(rf'(?:{_PAIRS})(?= |\n|$)|[^\s"]+')
_LABEL = re.compile(r'^(?:log|note) "', re.MULTILINE)


class Word(NamedTuple):
    """A word, and by how many nats it moved the log-odds of being asked; below 0 spoke against."""

    text: str
    effect: float


def spans(question: str) -> list[tuple[int, int]]:
    """Where what may be left out stands: a number with its name, or a word of the box's own."""
    end = len(question) - len(ASKED)
    labels = {found.start() for found in _LABEL.finditer(question)}
    return [
        found.span() for found in _PIECE.finditer(question, 0, end) if found.start() not in labels
    ]


def without(question: str, span: tuple[int, int]) -> str:
    """The question as if these words had not been said."""
    left, right = question[: span[0]], question[span[1] :]
    if left.endswith((" ", "\n", '"')) or not left:
        right = right.removeprefix(" ")
    return (left.removesuffix(" ") if right[:1] in ("\n", '"') else left) + right


def explain(
    mind: Mind, prefix: str, questions: Mapping[str, str], most: int = 3
) -> dict[str, list[Word]]:
    """Of each box the words that mattered most, the strongest first."""
    return {box: strongest(mind, prefix, question)[:most] for box, question in questions.items()}


def strongest(mind: Mind, prefix: str, question: str) -> list[Word]:
    """All words of a question, the strongest first."""
    places = spans(question)
    asked = [question, *(without(question, span) for span in places)]
    told, *rest = mind.answer(prefix, asked)
    much = mind.judge.words if mind.judge else 1.0
    found = [
        Word(question[a:b], much * (told.odds - answer.odds))
        for (a, b), answer in zip(places, rest, strict=True)
    ]
    return sorted(found, key=lambda word: -abs(word.effect))


def parts_told(part: Part) -> list[Word]:
    """What made a score beside single words."""
    told = [Word("its numbers", part.numbers), Word("the aim", part.aim)]
    return [*told, *([Word("its words", part.words)] if part.words else [])]
