"""Presets of the trainer, and what one of them comes to with a request's overrides."""

from __future__ import annotations

from pydantic import Field, JsonValue

from synfarm.contracts.base import Contract

__all__ = ["ConfigField", "PresetInfo", "PresetList", "PresetView", "StepCounts"]


class PresetInfo(Contract):
    name: str
    about: str


class PresetList(Contract):
    """``GET /v1/presets``."""

    items: tuple[PresetInfo, ...]


class ConfigField(Contract):
    """One field of a resolved configuration."""

    name: str
    """Dotted, as in a request's overrides."""
    value: JsonValue
    source: str
    """Where the value comes from: ``paper: …``, ``release: …``, ``literature: …``, ``inferred: …``, ``ours: …`` or
    ``request: …``."""


class StepCounts(Contract):
    """Of one optimiser step, over all ranks."""

    captions: int = Field(ge=0)
    images: int = Field(ge=0)
    """Captions times images of each."""
    global_crops: int = Field(ge=0)
    local_crops: int = Field(ge=0)
    tokens: int = Field(ge=0)
    """Class and patch tokens of all crops, hidden ones among them."""
    masked_tokens: int = Field(ge=0)
    """Patch tokens that are hidden from the student."""


class PresetView(Contract):
    """``GET /v1/presets/{name}``: every field after the request's overrides."""

    name: str
    about: str
    fields: tuple[ConfigField, ...]
    per_step: StepCounts
    steps: int = Field(ge=1)
    peak_learning_rate: float = Field(gt=0)
    """As it is used: it is not scaled by the batch or the ranks."""
