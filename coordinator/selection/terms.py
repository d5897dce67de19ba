"""Words of boxes as numbers, for students that count them: TF-IDF of words, pairs and letters.

The text is the note and all lines of the journal that are not days old. Figures become 0: "4.38 V"
and "4.41 V" are one word.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated

from msgspec import Meta, Struct

from coordinator.selection.fence import plain

MAX_TERMS = 512
LETTERS = 4
"""Length of the pieces that words are cut into."""
MOST = 300
"""Characters of a line."""
_AGE = re.compile(r"^\d+ (s|min|h|d) ago: ")
_FIGURES = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[a-z0]+")

Idf = Annotated[tuple[float, ...], Meta(max_length=MAX_TERMS)]
Term = Annotated[str, Meta(min_length=1, max_length=60)]


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vocabulary with each term's rarity."""

    words: Annotated[tuple[Term, ...], Meta(max_length=MAX_TERMS)]
    idf: Idf

    def __post_init__(self) -> None:
        if len(self.words) != len(self.idf):
            raise ValueError("words and idf have one entry for each term")
        if not all(math.isfinite(x) and 0 <= x <= 100 for x in self.idf):  # noqa: PLR2004
            raise ValueError("an idf is not from 0 to 100")


def text_of(note: str, journal: Sequence[str]) -> str:
    """What a box says now, in plain letters."""
    ages = ((_AGE.match(line), line) for line in journal)
    lines = [line[age.end() :] if age else line for age, line in ages if not age or age[1] != "d"]
    return " ; ".join(plain(line, MOST) for line in (*lines, note))


def counts(text: str) -> Counter[str]:
    """How often each word, each pair of neighbours and each piece of a word occurs."""
    words = _WORD.findall(_FIGURES.sub("0", text))
    return Counter([*words, *map(" ".join, pairwise(words)), *_pieces(words)])


def values(terms: Terms, text: str) -> list[float]:
    """TF-IDF of each term, with length 1 in all; 0 for all where none occurs."""
    seen = counts(text)
    raw = [
        seen[w] * idf if w in seen else 0.0 for w, idf in zip(terms.words, terms.idf, strict=True)
    ]
    length = math.sqrt(sum(x * x for x in raw))
    return [x / length for x in raw] if length else raw


def _pieces(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        padded = f"_{word}_"
        for at in range(len(padded) - LETTERS + 1):
            yield padded[at : at + LETTERS]
