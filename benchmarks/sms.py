"""A federated adapter on SMS spam, and what each update scheme costs in bytes and in accuracy.

    python benchmarks/sms.py --data sms_spam.tsv --json

A quarter of all messages is an untouched test split; a seed deals all the others to ten boxes by
Dirichlet(0.3), and draws A and the batches. Real coordinator and boxes train in one process on
virtual time, sealed, over a broker in memory: bytes are those of the published frames, a round's
mean. The trunk reads each message once for all arms and seeds. The first seed's adapter is then
exported and asked by llama.cpp and PEFT (sms_engines.py). Figures are kept in benchmarks/results
and printed from there while code and data are the same. The messages are not part of this
repository (UCI SMS Spam Collection).
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
from saved import RESULTS, code_key, summary  # noqa: E402
from sms_engines import asked  # noqa: E402

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

BOXES, ALPHA, HELD = 10, 0.3, 0
"""HELD draws the test split, the same for all seeds: settings were chosen on other rows."""
BLOCKS, RANK, ALPHA_LORA = 1, 64, 128.0
"""With A drawn and frozen a rank is so many drawn features: more of them, and fewer blocks."""
TOKENS = 96
"""With 64 the end of 277 of 747 spam messages was left out, with 96 of one."""
ROUNDS, STEPS, BATCH, RATE, DECAY, SERVER_RATE = 48, 1, 64, 1.0, 0.975, 0.04
"""Plain steps on the boxes, Adam at the coordinator: half of the boxes hold one class or nearly."""
SCHEMES: dict[str, dict[str, Any]] = {
    "fp32": {"bits": 32},
    "8-bit": {"bits": 8},
    "4-bit": {"bits": 4},
    "2-bit": {"bits": 2},
    "top-k": {"bits": 8, "keep": 0.1},
}
SEEDS = 3
ENGINES = "8-bit"
"""The arm whose adapter other programs are asked about."""
BLOCK = 128
"""Numbers that share a scale: a quarter of a bit each."""
CODE = (
    "benchmarks/sms*.py",
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
    """The test split, and all other rows dealt to the boxes."""
    test = np.sort(np.concatenate(dirichlet(table.y, BOXES, ALPHA, HELD).test))
    rest = np.setdiff1d(np.arange(len(table.y)), test)
    parts = dirichlet(table.y[rest], BOXES, ALPHA, seed, 0.0).boxes
    return Split(tuple(np.sort(rest[rows]) for rows in parts), (test,))


def job(scheme: dict[str, Any], seed: int) -> TaskFile:
    """One arm."""
    return TaskFile(
        job="sms",
        data=Data(classes=("ham", "spam"), text="text", validation=0.02),
        model=AdapterModel(
            blocks=BLOCKS, rank=RANK, alpha=ALPHA_LORA, prompt="{text}\nSpam?", tokens=TOKENS
        ),
        training=Train(
            optimiser="sgd",
            steps=STEPS,
            learning_rate=RATE,
            decay=DECAY,
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


def arm(
    table: Table, split: Split, file: TaskFile, states: Path, *, engines: bool = False
) -> dict[str, float]:
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
            **(asked(store, table, split.test[0], Path(folder)) if engines else {}),
        }


def told(store: Store) -> str:
    """The job's phase; what is new in its log goes to stderr on the way."""
    for line in store.said("sms", _LAST.get(id(store), 0)):
        _LAST[id(store)] = line.id
        print(line.text, file=sys.stderr, flush=True)
    return str(store.job("sms").phase)


_LAST: dict[int, int] = {}
"""The last line told of each store."""


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


def measured(data: Path, states: Path, wanted: list[tuple[int, str]]) -> dict[str, Any]:
    """Figures by seed and arm: those saved that still hold, the others worked out and saved."""
    path = RESULTS / "sms.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    stamp = {"code": code_key(CODE), "data": found.get("stamp", {}).get("data")}
    if data.is_file():
        stamp["data"] = hashlib.sha256(data.read_bytes()).hexdigest()[:16]
    told = found.get("seeds", {})
    missing = [(s, n) for s, n in wanted if n not in told.get(str(s), {}).get("arms", {})]
    if found.get("stamp") == stamp and (not missing or not data.is_file()):
        return found
    if not data.is_file():
        raise SystemExit(f"no saved figures hold for this code, and there is no {data}: see --help")
    table = load(str(data), None, "text", ())
    states.mkdir(parents=True, exist_ok=True)
    if found.get("stamp") != stamp:
        same = found.get("stamp", {}).get("data") == stamp["data"] and _holds(told, table, states)
        found, missing = (
            ({**found, "stamp": stamp}, missing)
            if same
            else ({"stamp": stamp, "seeds": {}}, wanted)
        )
        path.write_text(json.dumps(found, indent=1) + "\n")
    for seed, name in missing:
        split = dealt(table, seed)
        if str(seed) not in found["seeds"]:
            sizes = [len(rows) for rows in split.boxes]
            spam = [int(table.y[rows].sum()) for rows in split.boxes]
            found["seeds"][str(seed)] = {"boxes": sizes, "spam": spam, "arms": {}}
        found.setdefault("pooled", pooled(table, split))
        found["test_rows"] = len(split.test[0])
        last = (seed, name) == (0, ENGINES)
        figures = arm(table, split, job(SCHEMES[name], seed), states, engines=last)
        found["seeds"][str(seed)]["arms"][name] = figures
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(seed, name, figures, file=sys.stderr, flush=True)
    return found


def _holds(seeds: dict[str, Any], table: Table, states: Path) -> bool:
    """Whether the first saved arm, run again by the present code, gives the same figures.

    Its bytes may differ by a hundredth, as where a message has a field more.
    """
    for seed, told in seeds.items():
        for name, old in told["arms"].items():
            split = dealt(table, int(seed))
            new = arm(table, split, job(SCHEMES[name], int(seed)), states)
            near = {key: 0.01 * old[key] if key.startswith("bytes") else 0.0 for key in new}
            return all(abs(new[key] - old[key]) <= near[key] for key in new)
    return False


def summed(found: dict[str, Any]) -> dict[str, Any]:
    """Each arm over its seeds: means, intervals, bytes as a share of fp32's, loss against fp32."""
    arms: dict[str, Any] = {}
    seeds = found["seeds"].values()
    for name in SCHEMES:
        runs = [seed["arms"][name] for seed in seeds if name in seed["arms"]]
        pairs = [
            (seed["arms"][name], seed["arms"]["fp32"])
            for seed in seeds
            if name in seed["arms"] and "fp32" in seed["arms"]
        ]
        if runs:
            figures = {key: summary([r[key] for r in runs]) for key in ("accuracy", "spam_f1")}
            arms[name] = {"seeds": len(runs), **figures}
            arms[name]["bytes_up_per_round"] = runs[0]["bytes_up_per_round"]
        if pairs:
            lost = summary([whole["accuracy"] - one["accuracy"] for one, whole in pairs])
            share = pairs[0][0]["bytes_up_per_round"] / pairs[0][1]["bytes_up_per_round"]
            arms[name] |= {"share_of_fp32": round(share, 4), "accuracy_lost": lost}
    return arms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("sms_spam.tsv"))
    parser.add_argument("--states", type=Path, help="where the trunk's states are kept")
    parser.add_argument("--arms", default=",".join(SCHEMES), help=f"any of {','.join(SCHEMES)}")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    wanted = [(seed, name) for seed in range(given.seeds) for name in given.arms.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        found = measured(given.data, (given.states or Path(folder)) / "hidden", wanted)
    arms = summed(found)
    if given.json:
        print(json.dumps({**found, "arms": arms}))
        return
    print(f"pooled TF-IDF and logistic regression: accuracy {found['pooled']['accuracy']}")
    for name, f in arms.items():
        lost = f.get("accuracy_lost", {"mean": 0.0})["mean"]
        print(
            f"{name:6} {f['seeds']} seeds  accuracy {f['accuracy']['mean']:.4f}"
            f"  spam F1 {f['spam_f1']['mean']:.4f}  {lost:+.4f} lost"
            f"  bytes up a round {f['bytes_up_per_round']:,.0f} ({f.get('share_of_fp32', 1):.1%})"
        )


if __name__ == "__main__":
    main()
