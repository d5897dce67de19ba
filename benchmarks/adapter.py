"""Training an adapter by onnxruntime against torch and PEFT, on the same 4-bit weights.

    python benchmarks/adapter.py --json

The same blocks, adapters, rows and steps at both; torch holds the GGUF's own weights unpacked to
float32. Needs the extras adapter and build, and `quantize pull smollm2-135m`. Memory is measured in
fresh processes. Accuracies of the seeds are kept in benchmarks/results and printed from there while
code and data are unchanged; where only code has changed, the first is run again, and if it is the
very same all hold. The rest is measured each time.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
from adapter_rows import label_tokens  # noqa: E402
from adapter_train import (  # noqa: E402
    ALPHA,
    BATCH,
    BLOCKS,
    RANK,
    SEEDS,
    STEPS,
    Rows,
    accuracies,
    batch_of,
    drawn,
    lessons,
    states,
)
from saved import code_key, kept  # noqa: E402

from quantization.adapters.lora import LORA  # noqa: E402
from quantization.graphs.spec import Spec  # noqa: E402
from quantization.runtime.model import Model, open_model  # noqa: E402
from quantization.runtime.sessions import Batch, Task, open_trainer  # noqa: E402

BASE = "smollm2-135m"
LENGTH = 36
PAIRS = 5
DEPENDS = (
    "benchmarks/adapter_rows.py",
    "benchmarks/adapter_train.py",
    "benchmarks/adapter_peer.py",
    "edge_client/optimisers/gradients.py",
    "edge_client/optimise.py",
)


def agreement(model: Model, data: Rows) -> dict[str, Any]:
    """Error of the gradient, and CPU of a step, torch and ours in turn."""
    from adapter_peer import Peer

    batch = batch_of(data, np.arange(BATCH))
    batch = Batch(batch.hidden[:, :LENGTH], np.minimum(batch.last, LENGTH - 1), batch.target)
    task = Task(model.head(label_tokens(model)), ALPHA / RANK)
    lora, trainer = drawn(model, 0, spread=0.02), open_trainer(model, BLOCKS)
    peer = Peer(model, BLOCKS, RANK, ALPHA)
    peer.load(lora)
    ours, (loss, theirs) = trainer.step(lora, task, batch), peer.step(task.head, batch)
    errors = {
        name: float(
            np.linalg.norm(ours.gradients[name] - theirs[name]) / np.linalg.norm(theirs[name])
        )
        for name in LORA
    }
    pairs = [
        (cpu(lambda: trainer.step(lora, task, batch)), cpu(lambda: peer.step(task.head, batch)))
        for _ in range(PAIRS)
    ]
    return {
        "gradient_rel_err": max(errors.values()),
        "loss_err": abs(ours.loss - loss),
        "cpu_ratio": statistics.median(mine / other for mine, other in pairs),
        "cpu_s_step": statistics.median(mine for mine, _ in pairs),
        "cpu_s_step_peft": statistics.median(other for _, other in pairs),
    }


def cpu(call: Any) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def seeds_of(model: Model) -> list[dict[str, float]]:
    """Accuracies by seed: those saved that still hold, the others worked out now."""
    graphs = hashlib.sha256()
    for kind, blocks in (("block", 1), ("step", BLOCKS), ("forward", BLOCKS)):
        graphs.update(model.graph(Spec(kind, blocks, model.facts.shape)).read_bytes())
    data = f"{graphs.hexdigest()[:16]}-{model.sha256[:16]}"
    known = cache(lambda: lessons(model))
    return kept("adapter", code_key(DEPENDS), data, SEEDS, lambda n: accuracies(known(), n))


def memory(batch: int, engine: str) -> dict[str, Any]:
    """Peak RSS of a fresh process that trains and validates."""
    script = Path(__file__).with_name("adapter_memory.py")
    words = [sys.executable, str(script), BASE, str(batch), str(LENGTH), engine]
    found = subprocess.run(words, capture_output=True, check=True, text=True)
    return dict(json.loads(found.stdout.splitlines()[-1]))


def measure() -> dict[str, Any]:
    with open_model(BASE) as model:
        report = agreement(model, states(model, 0, BATCH))
        seeds = seeds_of(model)
    eight, one = memory(BATCH, "onnxruntime"), memory(1, "onnxruntime")
    report |= {
        "peak_rss_mb": eight["peak_mb"],
        "peak_rss_mb_batch_1": one["peak_mb"],
        "peak_rss_mb_trunk": eight["trunk_mb"],
        "peak_rss_mb_peft": memory(BATCH, "peft")["peak_mb"],
        "torch_loaded": eight["torch"] or one["torch"],
        **{name: statistics.fmean(seed[name] for seed in seeds) for name in seeds[0]},
        "seeds": seeds,
        "steps": STEPS,
        "blocks": BLOCKS,
        "batch": BATCH,
        "tokens": LENGTH,
        "versions": {n: importlib.metadata.version(n) for n in ("onnxruntime", "torch", "peft")},
    }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    report = measure()
    if parser.parse_args().json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        print(f"{name:22} {value}")


if __name__ == "__main__":
    main()
