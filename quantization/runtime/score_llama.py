"""Scoring by llama.cpp: the prefix is decoded once, texts follow it side by side.

Through the library's C interface, whose contexts take several sequences; its Python classes do not.
"""

import ctypes
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from proto.errors import ConfigError, LocalError
from quantization.adapters.as_gguf import to_gguf
from quantization.adapters.lora import Adapter
from quantization.arrays import Array
from quantization.runtime.llama import llama
from quantization.runtime.model import Model
from quantization.runtime.requantise import short_copy
from quantization.runtime.scoring import MAX_PREFIX, MAX_TEXT, TOGETHER

CELLS = MAX_PREFIX + TOGETHER * MAX_TEXT
"""Keys and values a context holds: 140 MB at float16 for SmolLM2's full length."""


class LlamaScorer:
    """One model, one context, at most one adapter."""

    def __init__(self, model: Model, labels: list[int], together: int = TOGETHER) -> None:
        self.model = model
        self.labels = labels
        self.together = together
        path = model.path if model.whole else short_copy(model)
        wanted = llama.llama_model_default_params()
        self.held = llama.llama_model_load_from_file(str(path).encode(), wanted)
        if not self.held:
            raise ConfigError(f"llama.cpp cannot load {path}")
        self.context: Any = None
        self.room = 0
        self.adapter: Any = None

    def adapt(self, adapter: Adapter | None) -> None:
        """Load an adapter through a file, as llama.cpp has no other way, and drop the last one."""
        loaded = None
        if adapter is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "adapter.gguf"
                path.write_bytes(to_gguf(adapter, self.model.facts))
                loaded = llama.llama_adapter_lora_init(self.held, str(path).encode())
            if not loaded:
                raise LocalError("llama.cpp does not take the adapter; its base model is another")
        old, self.adapter = self.adapter, loaded
        self._set_adapter()
        if old:
            llama.llama_adapter_lora_free(old)

    def logits(self, prefix: list[int], texts: Sequence[list[int]]) -> Array:
        """Of each label after each text: (texts, labels)."""
        self._make_room(len(prefix) + self.together * max(map(len, texts), default=0))
        memory = llama.llama_get_memory(self.context)
        llama.llama_memory_clear(memory, True)
        for start in range(0, len(prefix), llama.llama_n_batch(self.context)):
            piece = prefix[start : start + llama.llama_n_batch(self.context)]
            self._decode([(piece, start, 0)], answers=False)
        found = np.zeros((len(texts), len(self.labels)), np.float32)
        for start in range(0, len(texts), self.together):
            group = texts[start : start + self.together]
            for k in range(len(group)):
                llama.llama_memory_seq_cp(memory, 0, k + 1, -1, -1)
            items = [(text, len(prefix), k + 1) for k, text in enumerate(group)]
            found[start : start + len(group)] = self._decode(items, answers=True)
            for k in range(len(group)):
                llama.llama_memory_seq_rm(memory, k + 1, -1, -1)
        return found

    def close(self) -> None:
        """Give everything back."""
        if self.context:
            llama.llama_free(self.context)
        if self.adapter:
            llama.llama_adapter_lora_free(self.adapter)
        llama.llama_model_free(self.held)

    def _make_room(self, cells: int) -> None:
        """A context for that many keys and values; one large enough is kept."""
        if cells <= self.room:
            return
        if self.context:
            llama.llama_free(self.context)
        self.room = min(CELLS, max(512, 2 * cells))
        wanted = llama.llama_context_default_params()
        wanted.n_ctx = self.room
        wanted.n_batch = min(self.room, MAX_PREFIX)
        wanted.n_ubatch = 512
        wanted.n_seq_max = TOGETHER + 1
        wanted.n_threads = wanted.n_threads_batch = self.model.threads
        wanted.kv_unified = True
        wanted.no_perf = True
        self.context = llama.llama_init_from_model(self.held, wanted)
        if not self.context:
            raise LocalError(f"llama.cpp has no memory for {self.room} tokens")
        self._set_adapter()

    def _set_adapter(self) -> None:
        if not self.context:
            return
        count = 1 if self.adapter else 0
        held = (llama.llama_adapter_lora_p_ctypes * 1)(self.adapter)
        scales = (ctypes.c_float * 1)(1.0)
        if llama.llama_set_adapters_lora(self.context, held, count, scales):
            raise LocalError("llama.cpp does not take the adapter")

    def _decode(self, items: list[tuple[list[int], int, int]], *, answers: bool) -> Array:
        """Token lists, each with its first position and its sequence; label logits of each end."""
        total = sum(len(ids) for ids, _, _ in items)
        batch = llama.llama_batch_init(total, 0, 1)
        ends = []
        at = 0
        for ids, first, sequence in items:
            for k, token in enumerate(ids):
                batch.token[at] = token
                batch.pos[at] = first + k
                batch.n_seq_id[at] = 1
                batch.seq_id[at][0] = sequence
                batch.logits[at] = answers and k == len(ids) - 1
                at += 1
            ends.append(at - 1)
        batch.n_tokens = total
        failed = llama.llama_decode(self.context, batch)
        llama.llama_batch_free(batch)
        if failed:
            raise LocalError(f"llama.cpp could not decode {total} tokens (code {failed})")
        if not answers:
            return np.zeros((0, len(self.labels)), np.float32)
        vocabulary = self.model.facts.vocabulary
        rows = [llama.llama_get_logits_ith(self.context, end) for end in ends]
        every = [np.ctypeslib.as_array(row, (vocabulary,))[self.labels] for row in rows]
        return np.array(every, np.float32)


@contextmanager
def open_llama(model: Model, labels: list[int], together: int = TOGETHER) -> Iterator[LlamaScorer]:
    """llama.cpp with the model's file. Raises ConfigError where it cannot load it."""
    scorer = LlamaScorer(model, labels, together)
    try:
        yield scorer
    finally:
        scorer.close()
