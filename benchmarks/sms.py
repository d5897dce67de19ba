"""A federated adapter on SMS spam, and what each update scheme costs in bytes and in accuracy.

    python benchmarks/sms.py --data sms_spam.tsv --json

Ten boxes hold messages dealt by Dirichlet(0.3), at most 100 each; a quarter of all messages is an
untouched test split. Real coordinator and boxes train in one process on virtual time, sealed, over
a broker in memory: bytes are those of the published frames, a round's mean. The trunk reads each
message once for all arms. Figures are kept in benchmarks/results and printed from there while code
and data are the same. The messages are not part of this repository (UCI SMS Spam Collection).
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402 - it reads them when imported
from saved import RESULTS, code_key  # noqa: E402

from coordinator.store import Store  # noqa: E402
from coordinator.taskadapter import AdapterModel  # noqa: E402
from coordinator.taskfile import Data, RoundsTable, TaskFile, Train  # noqa: E402
from edge_client import config  # noqa: E402
from edge_client.adapter.bench import AdapterBench, Site  # noqa: E402
from edge_client.dataset import Table  # noqa: E402
from edge_client.texts import load  # noqa: E402
from firmware_sim.fleet import Fleet  # noqa: E402
from firmware_sim.splits import Split, dirichlet  # noqa: E402
from firmware_sim.text_demo import write_jsonl  # noqa: E402
from proto.codec import decode_signed  # noqa: E402
from proto.messages import Task  # noqa: E402
from proto.models import model_layout  # noqa: E402
from quantization.pack import unpack  # noqa: E402
from quantization.scheme import EXACT  # noqa: E402

BOXES, ALPHA, MOST, SEED = 10, 0.3, 100, 0
BLOCKS, RANK, ALPHA_LORA = 2, 32, 64.0
"""With A drawn and frozen a rank is so many drawn features: more of them, and fewer blocks."""
ROUNDS, STEPS, BATCH, RATE, SERVER_RATE = 20, 1, 16, 1.0, 0.08
"""Plain steps on the boxes, Adam at the coordinator: half of the boxes hold one class or nearly."""
SCHEMES: dict[str, dict[str, Any]] = {
    "fp32": {"bits": 32},
    "8-bit": {"bits": 8},
    "4-bit": {"bits": 4},
    "2-bit": {"bits": 2},
    "top-k": {"bits": 8, "keep": 0.1},
}
BLOCK = 128
"""Numbers that share a scale: a quarter of a bit each."""
CODE = (
    "benchmarks/sms.py",
    "coordinator/aggregation.py",
    "coordinator/ranks.py",
    "edge_client/adapter/prompts.py",
    "edge_client/optimise.py",
    "edge_client/optimisers/gradients.py",
    "edge_client/residual.py",
    "edge_client/train.py",
    "firmware_sim/splits.py",
    *(f"quantization/{name}.py" for name in ("codes", "pack", "places", "scheme", "uniform")),
)
"""What figures depend on; the rest carries them."""


def dealt(table: Table, seed: int) -> Split:
    """Dirichlet shares, cut to what the boxes of this benchmark hold."""
    split = dirichlet(table.y, BOXES, ALPHA, seed)
    rng = np.random.default_rng(seed)
    boxes = tuple(np.sort(rng.permutation(rows)[:MOST]) for rows in split.boxes)
    return Split(boxes, split.test)


def job(scheme: dict[str, Any], seed: int) -> TaskFile:
    """One arm."""
    return TaskFile(
        job="sms",
        data=Data(classes=("ham", "spam"), text="text", validation=0.1),
        model=AdapterModel(
            blocks=BLOCKS, rank=RANK, alpha=ALPHA_LORA, prompt="{text}\nSpam?", tokens=64
        ),
        training=Train(
            optimiser="sgd",
            steps=STEPS,
            learning_rate=RATE,
            decay=1.0,
            batch=BATCH,
            block=BLOCK,
            **scheme,
        ),
        rounds=RoundsTable(
            count=ROUNDS,
            quorum=BOXES,
            cohort=BOXES,
            seed=seed,
            deadline="1d",
            aggregation="fedadam",
            server_rate=SERVER_RATE,
        ),
    )


def arm(table: Table, split: Split, file: TaskFile, states: Path) -> dict[str, float]:
    """A whole job: what its last model is worth, and what a round took."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder))
        store = fleet.start_coordinator()
        limits = config.Adapter(cache_mib=8192)
        for number, rows in enumerate(split.boxes):
            source = Path(folder) / f"{number}.jsonl"
            write_jsonl(source, table, rows)
            data = config.Data(source=str(source), target="label")
            fleet.add_box(f"box-{number}", config.EdgeConfig(data=data, adapter=limits))
            (Path(folder) / f"box-{number}" / "hidden").symlink_to(states)
        fleet.submit(file)
        fleet.run(until=lambda: told(store) == "finished", limit=1e9)
        done = [r for r in store.rounds("sms") if r.kind == 1 and r.outcome == "done"]
        return {
            **judged(store, table, np.sort(np.concatenate(split.test)), states),
            "bytes_up_per_round": round(float(np.mean([r.bytes_up for r in done])), 1),
            "bytes_down_per_round": round(float(np.mean([r.bytes_down for r in done])), 1),
            "updates": float(sum(r.included for r in done)),
            "rounds": float(len(done)),
        }


def told(store: Store, seen: set[int] = set()) -> str:  # noqa: B006 - lines told so far
    """The job's phase; each new line of its log goes to stderr on the way."""
    for line in store.said("sms", max(seen, default=0)):
        seen.add(line.id)
        print(line.text, file=sys.stderr, flush=True)
    return str(store.job("sms").phase)


def judged(store: Store, table: Table, test: np.ndarray, states: Path) -> dict[str, float]:
    """Accuracy and spam F1 of the last model on rows no box ever held."""
    task = decode_signed(store.job("sms").task, Task)
    site = Site(config.Adapter(cache_mib=8192), states.parent, steps=1)
    bench = AdapterBench(task.model, store.model("sms", "features").data, site)
    texts = tuple(table.texts[row] for row in test.tolist())
    rows = bench.rows(Table(table.X[test], table.y[test], (), table.classes, texts))
    arrays = unpack(store.model("sms", "model").data, model_layout(task.model), EXACT)
    said, true = (
        bench.model.predict(arrays, bench.model.prepare(rows)).argmax(axis=1),
        table.y[test],
    )
    hits = int(((said == 1) & (true == 1)).sum())
    f1 = 2 * hits / max(1, int((said == 1).sum()) + int((true == 1).sum()))
    return {"accuracy": round(float((said == true).mean()), 4), "spam_f1": round(f1, 4)}


def pooled(table: Table, split: Split) -> dict[str, float]:
    """TF-IDF and logistic regression on all boxes' messages together, which none would allow."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = np.concatenate(split.boxes), np.concatenate(split.test)
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    known = vectors.fit_transform([table.texts[row] for row in train])
    fitted = LogisticRegression(max_iter=1000, C=10).fit(known, table.y[train])
    right = fitted.predict(vectors.transform([table.texts[row] for row in test])) == table.y[test]
    return {"accuracy": round(float(right.mean()), 4), "rows": float(len(train))}


def measured(data: Path, states: Path, names: list[str]) -> dict[str, Any]:
    """Figures by arm: those saved that still hold, the others worked out now and saved."""
    path = RESULTS / "sms.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    stamp = {"code": code_key(CODE), "data": found.get("stamp", {}).get("data")}
    if data.is_file():
        stamp["data"] = hashlib.sha256(data.read_bytes()).hexdigest()[:16]
    if found.get("stamp") != stamp:
        found = {"stamp": stamp, "arms": {}}
    missing = [name for name in names if name not in found["arms"]]
    if not missing:
        return found
    if not data.is_file():
        raise SystemExit(f"no saved figures hold for this code, and there is no {data}: see --help")
    table = load(str(data), None, "text", ())
    split = dealt(table, SEED)
    states.mkdir(parents=True, exist_ok=True)
    found["pooled"] = pooled(table, split)
    found["boxes"] = [len(rows) for rows in split.boxes]
    found["test_rows"] = sum(map(len, split.test))
    for name in missing:
        found["arms"][name] = arm(table, split, job(SCHEMES[name], SEED), states)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(name, found["arms"][name], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("sms_spam.tsv"))
    parser.add_argument("--states", type=Path, help="where the trunk's states are kept")
    parser.add_argument("--arms", default=",".join(SCHEMES), help=f"any of {','.join(SCHEMES)}")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        states = (given.states or Path(folder)) / "hidden"
        found = measured(given.data, states, given.arms.split(","))
    whole = found["arms"].get("fp32", {}).get("bytes_up_per_round")
    for figures in found["arms"].values():
        figures["share_of_fp32"] = (
            round(figures["bytes_up_per_round"] / whole, 4) if whole else None
        )
    if given.json:
        print(json.dumps(found))
        return
    print(f"pooled TF-IDF and logistic regression: accuracy {found['pooled']['accuracy']}")
    for name, f in found["arms"].items():
        print(
            f"{name:6} accuracy {f['accuracy']:.4f}  spam F1 {f['spam_f1']:.4f}"
            f"  bytes up a round {f['bytes_up_per_round']:,.0f} ({f['share_of_fp32']:.1%} of fp32)"
        )


if __name__ == "__main__":
    main()
