"""The same training by torch, transformers and PEFT: the last blocks of the GGUF in float32."""

import os
from collections.abc import Sequence
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch

from quantization.adapters.lora import LORA
from quantization.runtime.model import Model
from quantization.runtime.sessions import Batch

torch.set_num_threads(1)
NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def llama(model: Model, first: int, blocks: int, *, table: bool = False) -> Any:
    """transformers' Llama with some of the model's blocks; with its embedding only on request."""
    from transformers import LlamaConfig, LlamaForCausalLM

    facts, weights = model.facts, model.weights
    config = LlamaConfig(
        vocab_size=facts.vocabulary if table else 8,
        hidden_size=facts.shape.width,
        intermediate_size=facts.shape.inner,
        num_hidden_layers=blocks,
        num_attention_heads=facts.shape.heads,
        num_key_value_heads=facts.shape.kv_heads,
        rms_norm_eps=facts.epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": facts.rope_base},
        tie_word_embeddings=True,
    )
    net = LlamaForCausalLM(config)
    state = {"model.norm.weight": weights.vector("output_norm.weight")}
    for number in range(blocks):
        for name, theirs in NAMES.items():
            read = weights.vector if "norm" in name else weights.matrix
            found = read(f"blk.{first + number}.{name}.weight")
            state[f"model.layers.{number}.{theirs}.weight"] = found
    if table:
        state["model.embed_tokens.weight"] = weights.matrix("token_embd.weight")
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
    missing = net.load_state_dict(tensors, strict=False).missing_keys
    assert table or set(missing) == {"model.embed_tokens.weight", "lm_head.weight"}, missing
    return net.eval()


class Peer:
    """The last blocks with PEFT's LoRA on queries and values."""

    def __init__(self, model: Model, blocks: int, rank: int, alpha: float) -> None:
        from peft import LoraConfig, get_peft_model

        wanted = LoraConfig(r=rank, lora_alpha=alpha, target_modules=["q_proj", "v_proj"])
        self.net = get_peft_model(llama(model, model.facts.blocks - blocks, blocks), wanted)
        held = dict(self.net.named_parameters())
        prefix = "base_model.model.model.layers"
        self.lora = {
            name: [
                held[f"{prefix}.{k}.self_attn.{which}_proj.lora_{side.upper()}.default.weight"]
                for k in range(blocks)
            ]
            for name in LORA
            for _, which, side in [name.split("_")]
        }

    def load(self, arrays: Any) -> None:
        """Take over an adapter's arrays."""
        for name, parameters in self.lora.items():
            for k, parameter in enumerate(parameters):
                parameter.data = torch.from_numpy(np.ascontiguousarray(arrays[name][k].T))

    def loss(self, head: Any, batch: Batch) -> tuple[Any, Any]:
        """Mean cross-entropy and label log-probabilities."""
        assert batch.target is not None
        hidden = torch.from_numpy(batch.hidden)
        out = self.net.base_model.model.model(inputs_embeds=hidden, use_cache=False)
        last = out.last_hidden_state[torch.arange(len(hidden)), torch.from_numpy(batch.last)]
        logp = torch.log_softmax(last @ torch.from_numpy(head).T, -1)
        return -(logp * torch.from_numpy(batch.target)).sum(-1).mean(), logp

    def step(self, head: Any, batch: Batch) -> tuple[float, dict[str, Any]]:
        """Loss and gradients, stacked as ours are."""
        loss, _ = self.loss(head, batch)
        every = [p for name in LORA for p in self.lora[name]]
        found = [g.numpy().T for g in torch.autograd.grad(loss, every)]
        blocks = len(self.lora[LORA[0]])
        stacked = {name: np.stack(found[k * blocks :][:blocks]) for k, name in enumerate(LORA)}
        return float(loss.detach()), stacked

    def train(self, head: Any, batches: Sequence[Batch], rate: tuple[float, int]) -> None:
        """torch's AdamW, warmed up as ours is."""
        every = [p for name in LORA for p in self.lora[name]]
        optimiser = torch.optim.AdamW(every, lr=rate[0], weight_decay=0.0)
        warm = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda done: min(1.0, (done + 1) / (rate[1] + 1))
        )
        for batch in batches:
            optimiser.zero_grad()
            self.loss(head, batch)[0].backward()
            optimiser.step()
            warm.step()

    def accuracy(self, head: Any, data: Any, size: int) -> float:
        """Share of rows whose likeliest label is right."""
        hidden, last, labels = data
        right = 0
        with torch.no_grad():
            for at in range(0, len(hidden), size):
                part = slice(at, at + size)
                target = np.eye(2, dtype=np.float32)[labels[part]]
                _, logp = self.loss(head, Batch(hidden[part], last[part], target))
                right += int((logp.argmax(1).numpy() == labels[part]).sum())
        return right / len(hidden)
