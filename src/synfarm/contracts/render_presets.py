"""Presets of diffusion renders: what each sets, what it costs, and what it changes in the images."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["PRESETS", "Preset", "PresetName", "Sampler"]


class PresetName(StrEnum):
    """One word for a set of render settings; a setting that the job names itself wins."""

    PAPER = "paper"
    BALANCED = "balanced"
    FAST = "fast"
    TURBO = "turbo"
    SMOKE = "smoke"


class Sampler(StrEnum):
    """How noise becomes an image."""

    DDIM = "ddim"
    """DDIM, eta 0 (the paper's)."""
    DPMPP2M = "dpmpp2m"
    """DPM-Solver++ 2M: about DDIM's image in half of its steps."""
    LCM = "lcm"
    """For models and LoRAs distilled to latent consistency."""
    EULER = "euler"
    """Euler, trailing steps."""
    MODEL = "model"
    """The scheduler that the model's own folder names; the only one for flow-matching models (SD 3, FLUX)."""


class Preset(NamedTuple):
    """Settings by field, and what they mean to their user."""

    settings: Mapping[str, object]
    changes: str
    """In the images, beside ``paper``."""


def _preset(changes: str, **settings: object) -> Preset:
    return Preset(MappingProxyType(settings), changes)


PRESETS: Mapping[PresetName, Preset] = MappingProxyType(
    {
        PresetName.PAPER: _preset(
            "the method's own: nothing", sampler=Sampler.DDIM, steps=50, guidance=2.5, guidance_until=1.0
        ),
        PresetName.BALANCED: _preset(
            "other noise paths, so other details; the same subjects and quality to the eye",
            sampler=Sampler.DPMPP2M,
            steps=25,
            guidance=2.5,
            guidance_until=1.0,
        ),
        PresetName.FAST: _preset(
            "as balanced, and the last three fifths of the steps are not guided: a little less contrast",
            sampler=Sampler.DPMPP2M,
            steps=25,
            guidance=2.5,
            guidance_until=0.4,
        ),
        PresetName.TURBO: _preset(
            "needs a few-step model (LCM, Turbo, Lightning); less variety between the images of a caption",
            sampler=Sampler.MODEL,
            steps=4,
            guidance=1.0,
            guidance_until=1.0,
        ),
        PresetName.SMOKE: _preset(
            "unfinished images: proves that a farm works, and is of no other use",
            sampler=Sampler.DPMPP2M,
            steps=2,
            guidance=2.5,
            guidance_until=1.0,
        ),
    }
)
"""What each costs is told by :attr:`synfarm.contracts.render_settings.RenderSettings.network_passes`."""
