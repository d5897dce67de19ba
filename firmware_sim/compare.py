"""Policies side by side on the same fleets: what each spent until the target, with intervals.

All policies meet the same seeds, so differences are paired: the ratio to the first policy is taken
seed by seed. Intervals are Student's, 95 %, on logarithms for what is positive and spread wide.
A run that missed the target counts with all it spent, which is less than it would have needed.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from firmware_sim.judge import worst_decile
from firmware_sim.outcome import Result, jain, participation, reached, total
from firmware_sim.scenario import Scenario, with_policy
from proto.errors import ConfigError

Run = Callable[[Scenario, int], Result]
"""An engine: a scenario and a seed in, what came of it out."""

T95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Student's 97.5 % quantile for 1 to 30 degrees of freedom; 1.96 beyond."""
Z95 = 1.96


class Interval(Struct, frozen=True):
    """A mean with its 95 % interval; the two are equal to the mean for a single seed."""

    mean: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there were seeds enough for an interval."""
        return self.low < self.high


class PolicyRow(Struct, frozen=True, kw_only=True):
    """One policy over all seeds. Everything is until the target, or the end where it was missed."""

    policy: str
    seeds: int
    hits: int
    hit_share: Interval
    """Wilson's interval."""
    seconds: Interval
    bytes: Interval
    energy_j: Interval
    """By training boards and radios."""
    paid_bytes: Interval
    """Over metered links."""
    rounds: Interval
    battery_deaths: Interval
    jain: Interval
    waste: Interval
    """Share of the energy that went into training which did not count, by 0 to 1."""
    accuracy: Interval
    """Of the last model."""
    worst_decile: Interval | None
    """Of clients, by the last model, where that was measured."""


class Ratio(Struct, frozen=True):
    """A policy against the first one, paired by seed: geometric means; below 1 is better."""

    policy: str
    seconds: Interval
    bytes: Interval
    energy_j: Interval


class Comparison(Struct, frozen=True):
    """The table, and what it was made from."""

    scenario: str
    target: float
    seeds: tuple[int, ...]
    rows: tuple[PolicyRow, ...]
    ratios: tuple[Ratio, ...]


def pairs(
    scenario: Scenario, policies: Sequence[str], seeds: Sequence[int]
) -> list[tuple[Scenario, int]]:
    """Every policy on every seed. Raises ConfigError for a policy that is not there, or twice."""
    if len(set(policies)) < len(policies):
        raise ConfigError("policies is a list with one name twice; accepted: different names")
    scenarios = [with_policy(scenario, policy) for policy in policies]
    return [(one, seed) for seed in seeds for one in scenarios]


def sweep(
    scenario: Scenario, policies: Sequence[str], seeds: Sequence[int], run: Run
) -> list[Result]:
    """Run every policy on every seed, one after the other. Raises ConfigError."""
    return [run(one, seed) for one, seed in pairs(scenario, policies, seeds)]


def compare(results: Iterable[Result]) -> Comparison:
    """Raises ConfigError unless every policy has run on the same seeds of one scenario."""
    by_policy: dict[str, dict[int, Result]] = {}
    for result in results:
        by_policy.setdefault(result.policy, {})[result.seed] = result
    every = list(by_policy.values())
    if not every:
        raise ConfigError("there is no run to compare")
    first = next(iter(every[0].values()))
    if any(set(runs) != set(every[0]) for runs in every):
        raise ConfigError("policies can only be compared on the same seeds")
    if len({r.scenario for runs in every for r in runs.values()}) > 1:
        raise ConfigError("runs of different scenarios cannot be compared")
    seeds = tuple(sorted(every[0]))
    ordered = {policy: [runs[seed] for seed in seeds] for policy, runs in by_policy.items()}
    baseline = next(iter(ordered.values()))
    return Comparison(
        scenario=first.scenario,
        target=first.target,
        seeds=seeds,
        rows=tuple(_row(policy, runs) for policy, runs in ordered.items()),
        ratios=tuple(_ratio(policy, runs, baseline) for policy, runs in ordered.items()),
    )


def mean(values: Sequence[float], bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """The arithmetic mean; the interval is cut at what is possible."""
    middle, half = _student(values)
    return Interval(middle, max(bounds[0], middle - half), min(bounds[1], middle + half))


def geometric(values: Sequence[float]) -> Interval:
    """The geometric mean of positive numbers."""
    middle, half = _student([math.log(max(value, 1e-12)) for value in values])
    return Interval(math.exp(middle), math.exp(middle - half), math.exp(middle + half))


def wilson(hits: int, of: int) -> Interval:
    """A share with Wilson's score interval (Wilson 1927)."""
    share, z = hits / of, Z95
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + (z / (2 * of)) ** 2)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def _student(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half of the 95 % interval, 0 for a single value)."""
    count = len(values)
    middle = sum(values) / count
    if count == 1:
        return middle, 0.0
    deviation = math.sqrt(sum((v - middle) ** 2 for v in values) / (count - 1))
    quantile = T95[count - 2] if count - 1 <= len(T95) else Z95
    return middle, quantile * deviation / math.sqrt(count)


def _row(policy: str, runs: Sequence[Result]) -> PolicyRow:
    spent = [total(run, reached(run)) for run in runs]
    hits = sum(reached(run) is not None for run in runs)
    served = [worst_decile(list(run.accuracy_by_client)) for run in runs if run.accuracy_by_client]
    return PolicyRow(
        policy=policy,
        seeds=len(runs),
        hits=hits,
        hit_share=wilson(hits, len(runs)),
        seconds=geometric([t.seconds for t in spent]),
        bytes=geometric([t.bytes for t in spent]),
        energy_j=geometric([t.energy_j for t in spent]),
        paid_bytes=mean([t.paid_bytes for t in spent], (0.0, math.inf)),
        rounds=mean([t.rounds for t in spent], (0.0, math.inf)),
        battery_deaths=mean([t.battery_deaths for t in spent], (0.0, math.inf)),
        jain=mean([jain(participation(run)) for run in runs], (0.0, 1.0)),
        waste=mean([t.wasted_j / t.energy_j if t.energy_j else 0.0 for t in spent], (0.0, 1.0)),
        accuracy=mean([_last_accuracy(run) for run in runs], (0.0, 1.0)),
        worst_decile=mean(served, (0.0, 1.0)) if served else None,
    )


def _ratio(policy: str, runs: Sequence[Result], baseline: Sequence[Result]) -> Ratio:
    ours = [total(run, reached(run)) for run in runs]
    theirs = [total(run, reached(run)) for run in baseline]
    pairs = list(zip(ours, theirs, strict=True))
    return Ratio(
        policy,
        geometric([a.seconds / b.seconds for a, b in pairs]),
        geometric([a.bytes / max(1, b.bytes) for a, b in pairs]),
        geometric([a.energy_j / max(1e-9, b.energy_j) for a, b in pairs]),
    )


def _last_accuracy(run: Result) -> float:
    told = [row.accuracy for row in run.rounds if row.accuracy is not None]
    return told[-1] if told else 0.0
