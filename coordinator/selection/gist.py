"""The few lines of a journal that are worth a language model's time.

What many boxes of a fleet write is routine, whatever it is; what is older than a day is over. The
rest is told newest first, each line cut short: its first words say what it is about.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from coordinator.selection.fence import plain

MAX_KEY = 40
COMMON = 0.1
"""Share of boxes from which on a line counts as routine ..."""
SEVERAL = 3
"""... and the number of boxes it takes at least."""
MAX_ROUTINE = 64
LINE = 44
"""Characters of one line."""

_AGE = re.compile(r"^\d{1,6} (s|min|h|d) ago: ")
_NUMBER = re.compile(r"\b(?:0x[0-9a-f]+|\d{5,})\b")
_DIGITS = re.compile(r"[\d.]+")


def key_of(line: str) -> str:
    """What a line has in common with others of its kind: its first words, without numbers."""
    words = _DIGITS.sub(" ", plain(_AGE.sub("", line, count=1), 200)).split()
    return " ".join(words[:3])[:MAX_KEY]


def routine_of(journals: Sequence[Iterable[str]]) -> tuple[str, ...]:
    """Keys of the lines that many of these boxes write, the most frequent first."""
    counts = Counter(key for lines in journals for key in {key_of(line) for line in lines} if key)
    told = sum(1 for lines in journals if any(lines))
    enough = max(SEVERAL, math.ceil(COMMON * told))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(key for key, count in ranked if count >= enough)[:MAX_ROUTINE]


def gist(journal: Iterable[str], routine: Iterable[str]) -> list[str]:
    """A journal's news, the newest first, without ages, long numbers and lines told already."""
    known, found = set(routine), []
    for line in journal:
        age = _AGE.match(line)
        if age and age[1] == "d":
            continue
        key = key_of(line)
        if key in known:
            continue
        known.add(key)
        words = _NUMBER.sub(" ", plain(line[age.end() :] if age else line, 200))
        found.append(plain(words, LINE))
    return found
