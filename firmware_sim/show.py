"""A run's result as a table for people (Rich)."""

from typing import Any

from rich.console import Console
from rich.table import Table

from coordinator.tables import plain

READING = {
    "the fleet's adapter": "adapter_accuracy",
    "the same, exported and read back": "exported_adapter_accuracy",
    "the circuit it taught": "circuit_accuracy",
    "logistic regression on the circuit's features, pooled": "logistic_on_the_circuits_features",
    "TF-IDF and logistic regression, pooled": "pooled_words",
}


def show_reading(result: dict[str, Any]) -> None:
    """What an adapter and its circuit learned, beside simpler ways, and where the files are."""
    boxes, kept = result["clients"], result["test_rows"]
    title = f"{result['task']}: {boxes} boxes, {kept} test rows kept back"
    table = Table(title=plain(title), title_justify="left")
    table.add_column("what")
    table.add_column("test accuracy", justify="right")
    for name, key in READING.items():
        if key in result:
            table.add_row(name, f"{result[key]:.4f}")
    console = Console()
    console.print(table)
    sample = result["sample"]
    told = f"Asked about:\n{sample['text']}\nthe exported adapter says: {sample['answer']}"
    console.print(plain(told))
    console.print(plain("Files: " + ", ".join(result["files"])), soft_wrap=True)
    console.print(f"{result['cpu_s']} CPU seconds in {result['seconds']} s")


def show(result: dict[str, Any]) -> None:
    """Rounds, then the figures that count."""
    sizes = ", ".join(map(str, result["sizes"]))
    title = (
        f"{result['clients']} boxes with {sizes} rows; {result['test_rows']} test rows kept back"
    )
    table = Table(title=title, title_justify="left")
    for column in ("round", "updates", "test accuracy", "bytes up", "bytes down"):
        table.add_column(column, justify="right")
    for row in result["history"]:
        table.add_row(
            str(row["round"]),
            str(row["updates"]),
            f"{row['accuracy']:.4f}",
            f"{row['bytes_up']:,}",
            f"{row['bytes_down']:,}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"accuracy {result['accuracy']:.4f}, worst decile of boxes {result['worst_decile']:.4f}, "
        f"pooled logistic regression on the same features {result['pooled_accuracy']:.4f}\n"
        f"{result['bytes_per_update']} bytes up for each update, {result['updates']} updates, "
        f"broker {result['broker']}; {result['cpu_s']} CPU seconds in {result['seconds']} s",
        markup=False,
    )
