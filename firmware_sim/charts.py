"""Pictures of runs for a report: each function gives one SVG as text (matplotlib)."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from firmware_sim.compare import Comparison, Interval
from firmware_sim.outcome import Result, participation, total

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333", "#B2B200")
"""Okabe and Ito's, told apart with any eyes."""
INK, FAINT = "#22303c", "#d7dde3"
POINTS = 200
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "svg.hashsalt": "qfleet",
    "svg.fonttype": "path",
}

Runs = dict[str, list[Result]]
"""Results by policy."""


def learning(runs: Runs, what: str, label: str, scale: float) -> str:
    """Test accuracy over something spent: the median of seeds, and the middle half as a band."""
    figure, axes = _figure()
    lowest = 1.0
    for colour, (policy, results) in zip(_colours(runs), runs.items(), strict=True):
        curves = [_curve(result, what) for result in results]
        grid = np.linspace(0.0, max(curve[0][-1] for curve in curves), POINTS)
        steps = np.array([_held(grid, *curve) for curve in curves])
        axes.plot(grid / scale, np.median(steps, axis=0), color=colour, label=policy, lw=1.8)
        if len(results) > 1:
            low, high = np.quantile(steps, [0.25, 0.75], axis=0)
            axes.fill_between(grid / scale, low, high, color=colour, alpha=0.15, lw=0)
        lowest = min([lowest, *(accuracy for _, told in curves for accuracy in told[1:])])
    target = next(iter(runs.values()))[0].target
    axes.axhline(target, color=INK, lw=0.8, ls=":", label=f"target {target:g}")
    limits = (max(0.0, min(lowest, target) - 0.03), None)
    axes.set(xlabel=label, ylabel="test accuracy", xlim=(0, None), ylim=limits)
    axes.legend(frameon=False, loc="lower right")
    return _svg(figure)


def ratios(comparison: Comparison) -> str:
    """Each policy against the first: geometric means and intervals, on a logarithmic axis."""
    others = comparison.ratios[1:]
    figure, axes = _figure(height=0.9 + 0.75 * len(others))
    measures = (("time", "seconds"), ("energy", "energy_j"), ("bytes", "bytes"))
    for row, ratio in enumerate(others):
        for offset, (name, key) in enumerate(measures):
            found: Interval = getattr(ratio, key)
            at, colour = row + 0.22 * (offset - 1), COLOURS[offset]
            axes.plot([found.low, found.high], [at, at], color=colour, lw=2, alpha=0.6)
            axes.plot(found.mean, at, "o", color=colour, label=None if row else name, ms=5)
    axes.axvline(1.0, color=INK, lw=0.8)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 1.0, 2.0, 4.0]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(others)), [ratio.policy for ratio in others])
    axes.set_ylim(len(others) - 0.5, -0.5)
    axes.set_xlabel(f"to target, against {comparison.ratios[0].policy} (left is better)")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _svg(figure)


def shares(runs: Runs) -> str:
    """Lorenz curves of participation: the straight line is everybody equally often."""
    figure, axes = _figure()
    axes.plot([0, 100], [0, 100], color=INK, lw=0.8, ls=":")
    for colour, (policy, results) in zip(_colours(runs), runs.items(), strict=True):
        counts = np.sort(np.sum([participation(result) for result in results], axis=0))
        whole = max(1, counts.sum())
        share = np.concatenate([[0.0], np.cumsum(counts) / whole * 100])
        axes.plot(np.linspace(0, 100, len(share)), share, color=colour, label=policy, lw=1.8)
    axes.set(xlabel="clients, % (least asked first)", ylabel="updates that counted, %")
    axes.legend(frameon=False, loc="upper left")
    return _svg(figure)


def rounds(result: Result) -> str:
    """One run, round by round: who was asked, who was included, and how long it took."""
    figure, axes = _figure()
    for row in result.rounds:
        start, width = row.opened_s / 3600, (row.closed_s - row.opened_s) / 3600
        axes.bar(start, len(row.asked), width, align="edge", color=FAINT, lw=0)
        colour = COLOURS[0] if row.outcome == "done" else COLOURS[1]
        axes.bar(start, len(row.included), width, align="edge", color=colour, lw=0)
    axes.set(xlabel="hours since the start", ylabel="clients", ylim=(0, None), xlim=(0, None))
    for colour, label in ((FAINT, "asked"), (COLOURS[0], "counted"), (COLOURS[1], "missed")):
        axes.bar(0, 0, 0, color=colour, label=label)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _svg(figure)


def _curve(result: Result, what: str) -> tuple[list[float], list[float]]:
    """(what was spent, accuracy), after each round that gave a model."""
    spent, accuracies = [0.0], [0.0]
    for at, row in enumerate(result.rounds):
        if row.accuracy is not None:
            spent.append(float(getattr(total(result, at + 1), what)))
            accuracies.append(row.accuracy)
    return spent, accuracies


def _held(grid: Any, spent: Sequence[float], accuracies: Sequence[float]) -> Any:
    """Accuracy at each point of the grid: that of the last model by then."""
    return np.array(accuracies)[np.searchsorted(spent, grid, side="right") - 1]


def _colours(runs: Runs) -> list[str]:
    return [COLOURS[at % len(COLOURS)] for at in range(len(runs))]


def _figure(height: float = 3.1) -> tuple[Any, Any]:
    import matplotlib as mpl  # noqa: PLC0415 - heavy

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    with mpl.rc_context(STYLE):
        return plt.subplots(figsize=(6.2, height), layout="constrained")


def _svg(figure: Any) -> str:
    import matplotlib as mpl  # noqa: PLC0415
    import matplotlib.pyplot as plt  # noqa: PLC0415

    out = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return out.getvalue()
