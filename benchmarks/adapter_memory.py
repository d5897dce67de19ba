"""Peak memory of a fresh process: `adapter_memory.py BASE BATCH TOKENS onnxruntime|peft`.

Trains some steps and validates in between. Only with onnxruntime does the process run the trunk
itself, as a box does, before it trains; its peak so far is told apart.
"""

import json
import sys
from pathlib import Path

import numpy as np

from quantization.adapters.lora import fresh
from quantization.runtime.model import Model, open_model
from quantization.runtime.sessions import Batch, Task, hidden_states, open_forward, open_trainer

BLOCKS, RANK, STEPS = 6, 8, 6


def peak() -> float:
    """Peak RSS in MiB; the kernel's `ru_maxrss` would count the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def train(model: Model, task: Task, batch: Batch) -> None:
    lora = fresh(model.facts.shape, BLOCKS, RANK, np.random.default_rng(0))
    trainer, forward = open_trainer(model, BLOCKS), open_forward(model, BLOCKS)
    for _ in range(STEPS):
        step = trainer.step(lora, task, batch)
        lora = {
            name: array - np.float32(1e-3) * step.gradients[name] for name, array in lora.items()
        }
        forward.log_probabilities(lora, task, batch)


def train_peft(model: Model, task: Task, batch: Batch) -> None:
    from adapter_peer import Peer

    peer = Peer(model, BLOCKS, RANK, 2.0 * RANK)
    peer.train(task.head, [batch] * STEPS, (1e-3, 0))
    assert batch.target is not None
    peer.accuracy(task.head, (batch.hidden, batch.last, batch.target.argmax(1)), len(batch.hidden))


def main() -> None:
    base, size, length, engine = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    with open_model(base) as model:
        rng = np.random.default_rng(0)
        ids = rng.integers(20, model.facts.vocabulary, (size, length))
        task = Task(model.head([9805, 787]), 2.0)
        target = np.eye(2, dtype=np.float32)[np.arange(size) % 2]
        last = np.full(size, length - 1)
        if engine == "peft":
            hidden = rng.standard_normal((size, length, model.facts.shape.width))
            trunk = None
            train_peft(model, task, Batch(hidden.astype(np.float32), last, target))
        else:
            hidden = next(hidden_states(model, BLOCKS, [ids]))
            trunk = peak()
            train(model, task, Batch(hidden, last, target))
    print(json.dumps({"peak_mb": peak(), "trunk_mb": trunk, "torch": "torch" in sys.modules}))


if __name__ == "__main__":
    main()
