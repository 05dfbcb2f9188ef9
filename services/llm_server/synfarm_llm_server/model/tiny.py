"""A tiny random Llama over bytes: the shipped fake, which needs no weights and loads in milliseconds."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

__all__ = ["tiny_model", "tiny_tokenizer"]

_END = "<|end|>"


def tiny_tokenizer() -> Tokenizer:
    """One token a byte (ids 0 to 255) and the end token 256, so that most characters beyond ASCII span tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([_END])
    return tokenizer


def tiny_model(seed: int = 0, *, layers: int = 2, max_positions: int = 4096) -> Any:
    """A Llama of about 60k random parameters, float64 (so that a row's tokens do not hang on its neighbours)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=257,
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=layers,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=max_positions,
            initializer_range=0.4,
            bos_token_id=None,
            eos_token_id=256,
            pad_token_id=256,
            tie_word_embeddings=True,
        )
        network: Any = LlamaForCausalLM(config)
        return network.to(torch.float64).eval()
