"""Turns the settings into a loaded model: tokenizer, network, end tokens and the names that ``/info`` shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from synfarm_llm_server.model.tiny import tiny_model, tiny_tokenizer
from synfarm_llm_server.model.weights import WeightsMissing, converted, default_cache_dir, find_wheel_gguf
from synfarm_llm_server.settings import LlmSettings

__all__ = ["LoadedModel", "load_model"]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What the engine needs of a model."""

    network: Any
    tokenizer: Tokenizer
    end_ids: frozenset[int]
    special_ids: frozenset[int]
    model_id: str
    sha: str | None

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.network.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        device: torch.device = self.network.device
        return device


def _placement(settings: LlmSettings) -> tuple[torch.device, torch.dtype]:
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "float64" if settings.model == "tiny" else "bfloat16" if name == "cuda" else "float32"
    return torch.device(name), getattr(torch, dtype)


def _end_ids(network: Any) -> frozenset[int]:
    ends = network.generation_config.eos_token_id if network.generation_config else network.config.eos_token_id
    return frozenset([ends] if isinstance(ends, int) else ends or [])


def _special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    return frozenset(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)


def _check_attention(config: Any, max_total_tokens: int) -> None:
    """Refuse what our cache does not hold: windows shorter than a row, and layers that are not attention."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    if kinds == {"full_attention"} or (kinds <= {"full_attention", "sliding_attention"} and not window):
        return
    if kinds <= {"full_attention", "sliding_attention"} and window and window >= max_total_tokens:
        return
    raise WeightsMissing(
        f"this server runs models with full attention; {config.model_type} has layers {sorted(kinds)} "
        f"(window {window}). Choose another SYNFARM_LLM_MODEL, or lower SYNFARM_LLM_MAX_TOTAL_TOKENS to the window"
    )


def load_model(settings: LlmSettings) -> LoadedModel:
    """Load what ``settings.model`` names, in evaluation mode on its device.

    Raises:
        WeightsMissing: nothing usable there; the message says what to do.
    """
    device, dtype = _placement(settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    sha: str | None
    network: Any
    if settings.model == "tiny":
        network, tokenizer, sha = tiny_model().to(device=device, dtype=dtype), tiny_tokenizer(), None
    else:
        if settings.model == "smollm2":
            source = str(converted(find_wheel_gguf(), settings.cache_dir or default_cache_dir()))
            sha = Path(source).name.rsplit("-", 1)[-1]
        else:
            source, sha = settings.model, settings.revision
        try:
            network = AutoModelForCausalLM.from_pretrained(
                source, revision=settings.revision, dtype=dtype, use_safetensors=True, attn_implementation="sdpa"
            )
            tokenizer = AutoTokenizer.from_pretrained(source, revision=settings.revision).backend_tokenizer
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            raise WeightsMissing(
                f"cannot load SYNFARM_LLM_MODEL={settings.model!r}: {error}. "
                "Give a folder or hub id with config.json, tokenizer.json and safetensors"
            ) from error
        network = network.to(device).eval()
        sha = sha or getattr(network.config, "_commit_hash", None)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    _check_attention(network.config, settings.max_total_tokens)
    return LoadedModel(network, tokenizer, _end_ids(network), _special_ids(tokenizer), settings.model, sha)
