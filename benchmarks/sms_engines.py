"""The trained adapter's exported files, asked by other programs: do they say what the box says."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.export import export
from coordinator.store import Store
from edge_client.adapter.llama import LlamaBench
from edge_client.adapter.prompts import lists
from edge_client.config import Adapter as Limits
from edge_client.dataset import Table
from edge_client.kinds import predictor_of
from edge_client.model import Features
from proto.codec import decode_signed
from proto.messages import Task
from proto.models import model_layout
from quantization.adapters.files import read_adapter
from quantization.pack import unpack
from quantization.runtime.find import find
from quantization.runtime.model import open_model
from quantization.scheme import EXACT

BASE = "smollm2-135m"
ROWS, PEFT_ROWS = 200, 32
"""Test messages asked of llama.cpp and of PEFT, which reads 30 blocks in float32."""
Logs = NDArray[np.float64]


def asked(store: Store, table: Table, test: NDArray[np.intp], folder: Path) -> dict[str, float]:
    """Shares of equal decisions, and how far label log-probabilities are apart."""
    task = decode_signed(store.job("sms").task, Task)
    features = store.model("sms", "features").data
    arrays = unpack(store.model("sms", "model").data, model_layout(task.model), EXACT)
    files = export(store, "sms", folder / "out", ("gguf", "peft"), BASE)
    index = np.random.default_rng(0).permutation(test)[:ROWS]
    texts = tuple(table.texts[row] for row in index.tolist())
    part = Table(table.X[index], table.y[index], (), table.classes, texts)
    bench = predictor_of(task, features)
    ids = bench.rows(part)
    ours = np.log(bench.model.predict(arrays, bench.model.prepare(ids)))
    theirs = np.log(_llama(task, features, files[0], ids))
    found = {"llama_rows": float(len(index)), **_apart("llama", ours, theirs)}
    peft = _peft(files[1], lists(ids[:PEFT_ROWS]), task.model.answers)
    return {**found, "peft_rows": float(len(peft)), **_apart("peft", ours[: len(peft)], peft)}


def _apart(name: str, one: Logs, other: Logs) -> dict[str, float]:
    apart = np.abs(one - other)
    return {
        f"{name}_agrees": round(float((one.argmax(axis=1) == other.argmax(axis=1)).mean()), 4),
        f"{name}_mean_dlogp": float(f"{apart.mean():.2g}"),
        f"{name}_max_dlogp": float(f"{apart.max():.2g}"),
    }


def _llama(task: Task, features: bytes, file: Path, ids: Features) -> Logs:
    """Probabilities by llama.cpp with the exported file, on the base model as shipped."""
    bench = LlamaBench(task.model, features, Limits())
    with open_model(BASE) as model:
        read = read_adapter(file, model.facts, model.sha256)
    said: Logs = bench.model.predict(read.arrays, bench.model.prepare(ids))
    bench.close()
    return said


def _peft(folder: Path, rows: list[list[int]], answers: tuple[str, ...]) -> Logs:
    """Log-probabilities by PEFT, as it loads the exported folder, on the same weights."""
    import torch
    from adapter_peer import llama
    from peft import PeftModel

    said: list[Any] = []
    with open_model(str(find(BASE))) as model, torch.no_grad():
        labels = [model.tokens.single(answer) for answer in answers]
        net = PeftModel.from_pretrained(llama(model, 0, model.facts.blocks, table=True), folder)
        for row in rows:
            logits = net(input_ids=torch.tensor([row])).logits[0, -1, labels]
            said.append(torch.log_softmax(logits.double(), -1).numpy())
    return np.stack(said)
