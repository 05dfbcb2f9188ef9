"""The rates that a plan counts with: somebody's own measurements, and cited figures for what they leave out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from synfarm.contracts.base import Contract
from synfarm.planning.spread import Spread

__all__ = ["OwnRates", "read_rates"]


class OwnRates(Contract):
    """Of one GPU (or worker) each; a number, or ``{low, likely, high}``. What is left out is taken from the table."""

    source: str = "measured by whoever gives them"
    """Where they come from: told beside everything that is counted with them."""
    images_per_second: Spread | None = None
    """Drawn with the render settings that are planned."""
    tokens_per_second: Spread | None = None
    """New tokens of a GPU that serves the language model."""
    train_images_per_second: Spread | None = None
    """Of a GPU that trains; for one preset."""
    draws_per_caption: Spread | None = None
    """Generations asked for one caption that is kept, or whose slot stays empty."""
    prompt_tokens: float | None = Field(default=None, gt=0)
    """Of one generation."""
    new_tokens: float | None = Field(default=None, gt=0)
    """Of one generation."""
    image_bytes: float | None = Field(default=None, gt=0)
    """Of one image as it is stored."""
    restart_seconds: float | None = Field(default=None, ge=0)
    """From the loss of a worker until its successor takes a unit: the new machine and the loading of the model."""

    @model_validator(mode="after")
    def _positive(self) -> Self:
        for name in ("images_per_second", "tokens_per_second", "train_images_per_second", "draws_per_caption"):
            value: Spread | None = getattr(self, name)
            if value is not None and value.low <= 0:
                raise ValueError(f"{name} must be above 0")
        return self


def read_rates(path: Path) -> OwnRates:
    """From a JSON file, or YAML where PyYAML is installed.

    Raises:
        OSError: it cannot be read.
        ValueError: it is neither, or a field is wrong (pydantic's error is one).
        ModuleNotFoundError: it is YAML, and PyYAML is missing.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix in {".yaml", ".yml"}:
        import yaml

        try:
            told = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"not YAML: {error}") from error
    else:
        told = json.loads(text)
    return OwnRates.model_validate(told)
