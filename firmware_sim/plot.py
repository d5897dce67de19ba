"""Pictures of a run (matplotlib)."""

from itertools import accumulate
from pathlib import Path
from typing import Any


def draw(result: dict[str, Any], path: Path) -> None:
    """Accuracy and bytes by round, as a PNG."""
    import matplotlib as mpl  # noqa: PLC0415 - heavy

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    rounds = [row["round"] for row in result["history"]]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(rounds, [row["accuracy"] for row in result["history"]], "o-", label="federated")
    left.axhline(result["pooled_accuracy"], color="gray", linestyle="--", label="pooled LR")
    left.plot(rounds[-1:], [result["worst_decile"]], "v", color="tab:red", label="worst decile")
    left.set(xlabel="round", ylabel="accuracy on untouched test rows", ylim=(None, 1.0))
    left.legend(loc="lower right")
    for key, label in (("bytes_up", "up"), ("bytes_down", "down")):
        total = list(accumulate(row[key] for row in result["history"]))
        right.plot(rounds, [n / 1024 for n in total], "o-", label=label)
    right.set(xlabel="round", ylabel="KiB on the wire, all boxes, so far", ylim=(0, None))
    right.legend(loc="upper left")
    figure.suptitle(
        f"{result['clients']} boxes, seed {result['seed']}: accuracy {result['accuracy']:.3f} "
        f"(pooled {result['pooled_accuracy']:.3f}), {result['bytes_per_update']:.0f} B an update"
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)
