"""Request bodies of the API; the names and defaults are those of Text Generation Inference 3.3 and of OpenAI."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CompletionRequest", "GenerateRequest", "Parameters"]


class Parameters(BaseModel):
    """``parameters`` of a request; ranges are checked later, so that the messages are those clients know."""

    model_config = ConfigDict(frozen=True)

    best_of: int | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    do_sample: bool = False
    max_new_tokens: int | None = None
    return_full_text: bool | None = None
    stop: list[str] | None = None
    truncate: int | None = None
    watermark: bool | None = None
    details: bool | None = None
    decoder_input_details: bool | None = None
    seed: int | None = Field(default=None, ge=0, lt=1 << 64)
    top_n_tokens: int | None = None
    grammar: dict[str, Any] | None = None
    adapter_id: str | None = None


class GenerateRequest(BaseModel):
    """Body of ``/generate``, ``/generate_stream`` and ``/``."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {"inputs": "dog =>", "parameters": {"max_new_tokens": 30, "temperature": 0.8, "seed": 1}}
        },
    )

    inputs: str
    parameters: Parameters = Parameters()
    stream: bool = False


class CompletionRequest(BaseModel):
    """Body of ``/v1/completions``."""

    model_config = ConfigDict(frozen=True)

    prompt: str | list[str]
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = Field(default=None, ge=0, lt=1 << 64)
    stop: str | list[str] | None = None
    stream: bool = False
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    n: int = 1
    best_of: int | None = None
    echo: bool = False
    suffix: str | None = None
    logprobs: int | None = None
