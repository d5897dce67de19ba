"""Numbers as words: each feature has five words and four edges, frozen when a job starts.

Models of this size read "link slow" better than 214, and as long as a box stays within its buckets
its prompt stays the same, so that its score need not be worked out again.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from coordinator.selection.edges import Edges, Four
from coordinator.selection.features import Features
from coordinator.selection.gist import routine_of
from coordinator.selection.utility import percentile

AMOUNT = ("tiny", "small", "medium", "large", "huge")
SPEED = ("very slow", "slow", "medium", "fast", "very fast")
WORDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "battery": ("battery", ("nearly empty", "low", "half", "good", "full")),
    "ram_free_mib": ("memory", AMOUNT),
    "cpu_load": ("cpu", ("idle", "light", "half busy", "busy", "full")),
    "temperature_c": ("board", ("cold", "cool", "warm", "hot", "very hot")),
    "link_kbps": ("link", SPEED),
    "link_loss": ("packet loss", ("none", "little", "some", "much", "most")),
    "qpu_queue_s": ("queue", ("none", "short", "medium", "long", "endless")),
    "rows": ("data", AMOUNT),
    "loss_ratio": ("error", ("far below", "below", "like", "above", "far above")),
    "time_ratio": ("takes", ("no time", "little", "half the time", "most of it", "too long")),
    "delivered": ("delivers", ("never", "rarely", "half", "mostly", "always")),
    "misses": ("late", ("no", "once", "twice", "often", "always")),
}
"""What is told of a feature, in this order. `charging` is told beside the battery."""
SILENT = frozenset({"link_loss", "qpu_queue_s", "misses"})
"""Those whose first word is no news: it is left out, as a prompt is paid for by its length."""
FIXED: Mapping[str, tuple[float, float, float, float]] = {
    "battery": (15, 35, 60, 90),
    "cpu_load": (10, 35, 65, 90),
    "temperature_c": (20, 45, 60, 75),
    "link_loss": (1, 3, 8, 20),
    "qpu_queue_s": (1, 60, 600, 3600),
    "loss_ratio": (0.5, 0.8, 1.25, 2),
    "time_ratio": (0.1, 0.3, 0.6, 1),
    "delivered": (0.05, 0.4, 0.7, 0.95),
    "misses": (1, 2, 3, 5),
}
RELATIVE: Mapping[str, tuple[float, float, float, float]] = {
    "ram_free_mib": (128, 512, 2048, 8192),
    "link_kbps": (100, 1000, 10_000, 100_000),
    "rows": (50, 200, 1000, 10_000),
}
"""Those that depend on the fleet, with the edges of one that says too little of itself."""
ENOUGH = 10
"""Boxes that quintiles are taken of."""


def edges_of(boxes: Sequence[Features], journals: Sequence[Sequence[str]] = ()) -> Edges:
    """Of a fleet as it is when its job starts: quintiles where the fleet sets the scale."""
    found: dict[str, Four] = dict(FIXED)
    for name, usual in RELATIVE.items():
        values = [value for box in boxes if (value := box.get(name)) is not None]
        found[name] = _cuts(values) or usual
    return Edges(found, routine_of(journals))


def _cuts(values: Sequence[float]) -> Four | None:
    """Quintiles; or, where many boxes are of one kind, what tells the kinds apart."""
    if len(values) < ENOUGH:
        return None
    cuts = [percentile(values, percent) for percent in (20, 40, 60, 80)]
    if not all(a < b for a, b in pairwise(cuts)):
        kinds = sorted(set(values))[1:]
        if not kinds:
            return None
        cuts = [kinds[round(at * (len(kinds) - 1) / 3)] for at in range(4)]
        cuts = (
            kinds + [2 * kinds[-1] + at for at in range(1, 5)] if len(kinds) < len(cuts) else cuts
        )
    return cuts[0], cuts[1], cuts[2], cuts[3]


def words_of(values: Features, edges: Edges) -> str:
    """All that is known of a box, as words; nothing that is unknown."""
    told = []
    for name, (label, words) in WORDS.items():
        if (value := values.get(name)) is None:
            continue
        at = sum(value >= edge for edge in edges.of[name])
        if not at and name in SILENT:
            continue
        text = f"{label} {words[at]}"
        if name == "battery":
            text += " charging" if values.get("charging") else ""
        told.append(text)
    return " ".join(told)
