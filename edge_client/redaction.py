"""Lines of a journal without what names people, hosts and places, in printable ASCII and short.

Redaction by patterns cannot know everything: `edge-client status --report` shows what is left, and
the owner's `hide` takes away the words that only they know to be secret.
"""

import re
import unicodedata
from collections.abc import Iterable

MAX_LINE = 160
READ = 2000
"""Characters of a line that are looked at; what follows never leaves."""
GONE = "*"

_SECRETS = "password|passwd|token|secret|api[_-]?key|bearer|user(?:name)?|ssid|psk|serial"
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b[a-z][a-z0-9+.-]{1,20}://\S+",  # URLs, with whatever login is in them
        r"[^\s@<>()\"']{1,64}@[^\s@<>()\"']{1,255}",  # addresses of people and of hosts
        r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b",  # MAC
        r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b",  # IPv4
        r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])",  # IPv6
        rf"\b(?:{_SECRETS})\b\s*[=:]?\s*\S+",
        r"(?<![\w/])/(?:home|root|users|media|mnt)/\S+",  # paths with names of people in them
        r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",  # UUID
        r"\b(?=[a-z]*\d)(?=\d*[a-z])[0-9a-f]{8,}\b",  # other ids: hex with letters and digits
        r"[A-Za-z0-9+/_=-]{24,}",  # keys and tokens
        r"\b\d{7,}\b",  # telephone and serial numbers; sector and voltage figures are shorter
    )
)


def redacted(text: str, hide: Iterable[str] = ()) -> str:
    """One line as it may leave; empty where nothing is left of it. `hide` ignores case."""
    plain = unicodedata.normalize("NFKD", text[:READ])
    plain = "".join(c for c in plain if " " <= c <= "~" or c in "\t\n\r")
    for word in sorted(filter(None, hide), key=len, reverse=True):
        plain = re.sub(re.escape(word), GONE, plain, flags=re.IGNORECASE)
    for pattern in _PATTERNS:
        plain = pattern.sub(GONE, plain)
    return " ".join(plain.split())[:MAX_LINE].rstrip()
