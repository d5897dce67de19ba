"""What long benchmarks share: a key of the code behind saved figures, and means with intervals."""

import ast
import hashlib
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def code_key(patterns: Sequence[str]) -> str:
    """Of the code in these files but for its comments, docstrings and layout."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
        digest.update(f"{path.name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:16]


def _is_text(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


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
