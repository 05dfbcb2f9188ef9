"""How a job's images are drawn: the renderer, its model, the steps, and what is stored of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from synfarm.contracts.asking import is_none
from synfarm.contracts.base import Contract
from synfarm.contracts.render_presets import PRESETS, PresetName, Sampler

__all__ = ["LoraRef", "ModelName", "ModelRef", "RenderSettings", "Revision"]


def _no_way_out(name: str) -> str:
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError("name a hub id (owner/model) or a folder below the workers' folder of models, without '..'")
    return name


ModelName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$"), AfterValidator(_no_way_out)
]
"""A folder below the workers' ``SYNFARM_RENDER_MODELS``, or else a hub id."""
Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")]
"""A commit of the model's repository; needless for a folder."""


class ModelRef(Contract):
    """A model beside the one that draws."""

    model: ModelName
    revision: Revision | None = Field(default=None, exclude_if=is_none)


class LoraRef(ModelRef):
    """Low-rank weights that are fused into the model that draws."""

    weights: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,120}\.safetensors$")] | None = Field(
        default=None, exclude_if=is_none
    )
    """The file in the repository, if it holds several."""
    scale: float = Field(default=1.0, ge=-4, le=4)


class RenderSettings(Contract):
    """How images are drawn. What concerns models is for diffusers; collage needs none of it."""

    renderer: Literal["collage", "diffusers"] = "collage"
    preset: PresetName | None = Field(default=None, exclude_if=is_none)
    """Gives sampler, steps and guidance where the job does not name them itself."""
    model: ModelName | None = None
    """Hub id or local folder."""
    revision: Revision | None = None
    family: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,16}$")] = "collage"
    """Model family, the first half of the capability that a worker must have: ``collage``, ``sd15``, ``sdxl`` …"""
    lora: LoraRef | None = Field(default=None, exclude_if=is_none)
    size: int = Field(default=256, ge=32, le=2048)
    """Side of the stored square image in pixels."""
    render_size: int | None = Field(default=None, ge=32, le=4096)
    """Side at which the model draws, when it is not the stored one."""
    steps: int = Field(default=50, ge=1, le=1000)
    guidance: float = Field(default=2.5, ge=0, le=50)
    guidance_until: float = Field(default=1.0, gt=0, le=1, exclude_if=lambda value: value == 1.0)
    """Share of the steps that are guided; after them the unconditional half is left out."""
    sampler: Sampler = Sampler.DDIM
    image_format: Literal["jpg", "webp"] = "jpg"
    quality: int = Field(default=95, ge=1, le=100)
    clip_score: ModelRef | None = Field(default=None, exclude_if=is_none)
    """A CLIP model that scores how well each image shows its caption; commits keep ``clip`` and ``clip_min``."""
    nsfw_score: ModelRef | None = Field(default=None, exclude_if=is_none)
    """A safety checker whose score commits keep as ``nsfw``; no image is blackened or left out for it."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("preset") is None:
            return data
        try:
            preset = PRESETS[PresetName(data["preset"])]
        except ValueError:
            return data  # the field's own validation says which there are
        return {**preset.settings, **data}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.renderer == "diffusers":
            if self.model is None:
                raise ValueError("renderer 'diffusers' needs 'model': a hub id or a local folder")
            if self.family == "collage":
                raise ValueError("renderer 'diffusers' needs 'family', for example 'sd15'")
            return self
        if self.family != "collage":
            raise ValueError("renderer 'collage' has family 'collage'")
        for name in ("preset", "lora", "clip_score", "nsfw_score"):
            if getattr(self, name) is not None:
                raise ValueError(f"'{name}' belongs to renderer 'diffusers': leave it out, or set renderer and model")
        return self

    @property
    def size_class(self) -> str:
        """``s`` up to 256 px drawn, ``m`` to 512, ``l`` to 1024, ``xl`` above."""
        side = self.render_size or self.size
        return "s" if side <= 256 else "m" if side <= 512 else "l" if side <= 1024 else "xl"

    @property
    def capability(self) -> str:
        """Model family and size class: a worker takes only what it can serve."""
        return f"{self.family}-{self.size_class}"

    @property
    def network_passes(self) -> float:
        """Passes of one sample through the denoiser for one image: what its cost grows with.

        A guided step takes two, with and without the caption; guidance 1 and less is none.
        """
        guided = round(self.guidance_until * self.steps) if self.guidance > 1 else 0
        return float(self.steps + guided)
