"""What long benchmarks share: figures saved while code and data are the same, means, intervals."""

import hashlib
import itertools
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_client.dataset import Table
from firmware_sim import codekey

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
Found = dict[str, Any]
COUNTED = ("bytes", "paid_bytes")
CLOSE = 0.01
"""Bytes may differ so far, as a share: a field more in a message leaves ratios as they are."""
MEASURED = ("queued_s", "ran_s", "log", "advice_s")


def code_key(patterns: Sequence[str]) -> str:
    """Of the code in these files but for its comments, docstrings and layout."""
    return codekey.code_key(ROOT, patterns)


def data_key(setting: object, table: Table) -> str:
    """Of a data set and what is done with it; repr(setting) must tell all."""
    digest = hashlib.sha256(repr(setting).encode())
    digest.update(table.X.tobytes() + table.y.tobytes())
    return digest.hexdigest()[:16]


def kept(name: str, code: str, data: str, seeds: int, run: Callable[[int], Found]) -> list[Found]:
    """Figures of the seeds from 0: those saved that still hold, the others by `run`, saved at once.

    Where only the code has changed, the first saved seed is run again; if its figures are the very
    same, the others hold, too.
    """
    path = RESULTS / f"{name}.json"
    saved = _saved(path)
    runs: dict[str, Found] = saved.get("seeds", {})
    if saved.get("stamp") != [code, data]:
        first = min(runs, key=int, default=None)
        same = first is not None and saved["stamp"][1] == data
        if not same or not _alike(_plain(run(int(first or 0))), runs[first]):
            runs = {}
        _save(path, [code, data], runs)
    for seed in map(str, range(seeds)):
        if seed not in runs:
            print(f"{name}: seed {seed} of {seeds} ...", file=sys.stderr)
            runs[seed] = _plain(run(int(seed)))
            _save(path, [code, data], runs)
    return [runs[str(seed)] for seed in range(seeds)]


def held(name: str, code: str, data: str, seeds: int) -> tuple[list[Found], bool]:
    """Saved figures of the seeds from 0, as many as there are, and whether of this very code.

    Empty where they are of other data.
    """
    saved = _saved(RESULTS / f"{name}.json")
    stamp, runs = saved.get("stamp", ["", ""]), saved.get("seeds", {})
    if stamp[1] != data:
        return [], False
    there = list(itertools.takewhile(runs.__contains__, map(str, range(seeds))))
    return [runs[seed] for seed in there], stamp[0] == code


def _alike(new: Found, old: Found) -> bool:
    """Whether figures are the very same: bytes but for CLOSE, those of a clock left out."""
    new, old = _learnt(new), _learnt(old)
    return new.keys() == old.keys() and all(_equal(n, new[n], old[n]) for n in new)


def _equal(name: str, new: Any, old: Any) -> bool:
    if isinstance(new, dict) and isinstance(old, dict):
        return _alike(new, old)
    if name in COUNTED:
        return bool(abs(new - old) <= CLOSE * abs(old))
    return bool(new == old)


def _learnt(found: Found) -> Found:
    """Without the figures that a clock gave, which differ from run to run."""
    return {name: value for name, value in found.items() if name not in MEASURED}


def _plain(found: Found) -> Found:
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _saved(path: Path) -> Found:
    found: Found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _save(path: Path, stamp: list[str], runs: dict[str, Found]) -> None:
    lines = ",\n".join(f"{json.dumps(seed)}: {json.dumps(found)}" for seed, found in runs.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f'{{"stamp": {json.dumps(stamp)}, "seeds": {{\n{lines}\n}}}}\n'
    path.write_text(text, encoding="utf-8")


def summary(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Mean and 95 % interval by Student's t."""
    from scipy.stats import t

    mean, reach = statistics.fmean(values), 0.0
    if len(values) > 1:
        spread = statistics.stdev(values) / math.sqrt(len(values))
        reach = float(t.ppf(0.975, len(values) - 1)) * spread
    low, high = mean - reach, mean + reach
    return {"mean": round(mean, digits), "low": round(low, digits), "high": round(high, digits)}


def ratio(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Geometric mean of ratios above 0, and its 95 % interval."""
    logs = summary([math.log(value) for value in values], 9)
    return {name: round(math.exp(value), digits) for name, value in logs.items()}
