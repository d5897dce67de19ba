"""What runs of `benchmarks/agent.py` come to: ratios, intervals, the gap that was closed."""

import math
from typing import Any

import numpy as np
from saved import Found

from firmware_sim.prices import prices_of

CORE = 4.0 / 3.77
"""Seconds on an x86-gateway's core for one here, by costs.toml and boards.toml ..."""
WATTS = 9.4 / 4
"""... and what one of its four busy cores takes."""


def charged(row: Found) -> Found:
    """With what the policy's own answers took of the coordinator, as if it were an x86-gateway."""
    own = row.get("advice_s", 0.0) * CORE
    return row | {"seconds": row["seconds"] + own, "energy_j": row["energy_j"] + own * WATTS}


def priced(row: Found, base: Found) -> float:
    """What the objective makes of a run beside the hand rule's, as a logarithm."""
    prices = prices_of(row["objective"])
    return (
        prices.time * _log(row, base, "seconds")
        + prices.energy * _log(row, base, "energy_j")
        + prices.bytes * _log(row, base, "paid_bytes", 1000.0)
        - prices.fairness * _log(row, base, "jain")
    )


def both(row: Found, base: Found) -> float:
    """Time and energy in halves, as a logarithm."""
    return 0.5 * _log(row, base, "seconds") + 0.5 * _log(row, base, "energy_j")


def _log(row: Found, base: Found, key: str, floor: float = 1e-9) -> float:
    return math.log((row[key] + floor) / (base[key] + floor))


def interval(logs: list[float]) -> dict[str, float]:
    """Geometric mean of ratios with its 95 % interval by bootstrap over fleets."""
    values = np.array(logs)
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (10_000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    found = {"mean": values.mean(), "low": low, "high": high}
    return {name: round(math.exp(value), 3) for name, value in found.items()}


def closed(rows: list[Found], base: list[Found], ceiling: list[Found]) -> dict[str, float]:
    """Share of the way from the hand rule to the teacher, in logarithms, where all three ran."""
    trios = list(zip(map(charged, rows), base, ceiling, strict=False))
    found = {}
    for key in ("seconds", "energy_j"):
        ours = sum(_log(row, rule, key) for row, rule, _ in trios)
        best = sum(_log(top, rule, key) for _, rule, top in trios)
        found[key] = round(ours / best, 2) if best < 0 else math.nan
    return found


def duel(rows: list[Found], rivals: list[Found]) -> dict[str, dict[str, float]]:
    """One policy's ratios to another's on the fleets both ran: below 1 the first is the better."""
    pairs = list(zip(map(charged, rows), map(charged, rivals), strict=False))
    logs = {key: [_log(*pair, key) for pair in pairs] for key in ("seconds", "energy_j")}
    return {key: interval(found) for key, found in logs.items()} | {
        "priced": interval([priced(*pair) for pair in pairs]),
        "fleets": len(pairs),
    }


def summed(rows: list[Found], base: list[Found], ceiling: list[Found]) -> dict[str, Any]:
    """One policy in one cell beside the hand rule on the same fleets."""
    pairs = list(zip(map(charged, rows), base, strict=False))
    ratios = {
        key: interval([_log(row, other, key) for row, other in pairs])
        for key in ("seconds", "energy_j", "bytes")
    }
    mean = {
        key: round(sum(row[key] for row in rows) / len(rows), 3)
        for key in ("paid_bytes", "queue_s", "rounds", "deaths", "jain", "waste")
    }
    known = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    advice = sum(row.get("advice_s", 0.0) for row in rows) / len(rows)
    return {
        "fleets": len(rows),
        "hits": sum(row["hit"] for row in rows),
        "ratio": ratios | {"priced": interval([priced(row, other) for row, other in pairs])},
        "gap_closed": closed(rows, base, ceiling) if ceiling else None,
        "advice_cpu_s": round(advice, 2),
        "advice_j": round(advice * CORE * WATTS, 1),
        **mean,
        "accuracy": round(sum(known) / len(known), 4) if known else None,
    }
