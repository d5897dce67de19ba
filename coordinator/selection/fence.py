"""Peers' words made safe to stand in a prompt: plain, short, and between quotes they cannot close.

What a model makes of them only orders boxes that the plan would accept anyway. The fence keeps one
box's words from looking like our own, and from costing more than their share of tokens.
"""

import re
import unicodedata
from collections.abc import Iterable

MAX_NOTE = 48
MAX_JOURNAL = 90
"""Characters."""
_KEPT = re.compile(r"[^a-z0-9 .,:;%+*()='/_#!?-]")
_READ = 2000


def plain(text: str, most: int) -> str:
    """Lower-case letters, digits and a few signs, on one line, at most so many characters.

    Quotes, brackets, bars and backslashes go, and with them every special token of a chat.
    """
    spread = unicodedata.normalize("NFKD", text[:_READ]).lower()
    # What has no counterpart in ASCII vanishes, so that accents do not cut words in two; marks
    # that delimit become spaces, so that "<|end|>join" stays two words.
    letters = "".join(c if c.isascii() else "" for c in spread)
    words = _KEPT.sub(" ", letters).split()
    return " ".join(words)[:most].rstrip()


def fenced(label: str, text: str, most: int) -> str:
    """`label "text"`, or nothing where there are no words."""
    kept = plain(text, most)
    return f'{label} "{kept}"' if kept else ""


def joined(lines: Iterable[str], most: int) -> str:
    """Lines one after the other, the first ones whole, as long as they fit."""
    kept: list[str] = []
    left = most
    for line in lines:
        short = plain(line, left)
        if not short or (kept and len(plain(line, most)) > left):
            break
        kept.append(short)
        left -= len(short) + 2
        if left <= 0:
            break
    return "; ".join(kept)
