"""A tiny base model that knows the agent's labels, its adapters, and decisions to learn from."""

from pathlib import Path

import numpy as np

from coordinator.decisionsfile import write_decisions
from coordinator.selection.examples import FORMAT, VERSION, Client, Decision, Header
from coordinator.selection.prompt import AIMS, LABELS, STEPS
from tests.adapters.tiny import write_tiny

DEPTH = 3
"""Blocks that its adapters make use of, of the four there are."""


def write_base(path: Path) -> Path:
    return write_tiny(path, blocks=4, more=(*STEPS, *AIMS.values()))


def write_agent(path: Path, base: Path, seed: int = 0, size: float = 0.5) -> Path:
    """An adapter that was never taught anything: it answers by chance, the same each time."""
    from quantization.adapters.files import write_adapter
    from quantization.adapters.lora import LORA, Adapter, fresh
    from quantization.runtime.model import open_model

    rng = np.random.default_rng(seed)
    with open_model(str(base)) as model:
        arrays = fresh(model.facts.shape, 2, 4, rng)
        for name in LORA:
            arrays[name] = (size * rng.normal(size=arrays[name].shape)).astype(np.float32)
        write_adapter(Adapter(arrays, DEPTH - 2, 8.0, model.sha256), model.facts, path)
    return path


def write_lessons(path: Path, fleets: int = 6, rounds: int = 3) -> Path:
    """A teacher who reads notes: not those that say so, and few steps for the slow."""
    rng, made = np.random.default_rng(5), []
    for fleet in range(fleets):
        for number in range(1, rounds + 1):
            clients = []
            for at in range(6):
                ill, slow = bool(rng.integers(2)), bool(rng.integers(2))
                clients.append(
                    Client(
                        box=f"b{at}",
                        features={"battery": 50.0, "time_ratio": 0.8 if slow else 0.2},
                        join=0.05 if ill else 0.95,
                        steps=(1.0, 0.0, 0.0, 0.0) if slow else (0.0, 0.0, 0.0, 1.0),
                        note="fan broken" if ill else "all well",
                    )
                )
            decision = Decision(
                fleet=f"fleet-{fleet}",
                round=number,
                cohort=3,
                clients=tuple(clients),
                stop=float(number == rounds),
                progress={"done": number / rounds},
            )
            made.append(decision)
    header = Header(format=FORMAT, version=VERSION, teacher="reads notes", seed=1)
    write_decisions(path, header, made)
    return path


assert len(LABELS) == 10
