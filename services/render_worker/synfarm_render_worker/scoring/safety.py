"""How near an image comes to what a safety checker would hide. Nothing is hidden here: the number is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from torch.nn import functional
from transformers import CLIPImageProcessorPil

from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.model_files import first_line
from synfarm_render_worker.renderer import Pixels
from synfarm_render_worker.scoring.scorer import NSFW, batches

__all__ = ["SAFETY_FILES", "SafetyScorer", "load_safety"]

SAFETY_FILES = ("*.json", "model.safetensors")
_BATCH = 32


def load_safety(folder: Path, device: str) -> SafetyScorer:
    """From the checker's own folder, or a pipeline's that has it as ``safety_checker``.

    Raises:
        EnvironmentFault: there is no Stable Diffusion safety checker as safetensors.
    """
    inner = folder / "safety_checker"
    try:
        model: Any = StableDiffusionSafetyChecker.from_pretrained(
            inner if inner.is_dir() else folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        told = first_line(error)
        raise EnvironmentFault(
            f"render.nsfw_score.model: {folder.name!r} cannot be loaded as a safety checker ({told}); name Stable "
            "Diffusion's, as safetensors"
        ) from error
    return SafetyScorer(model, device)


class SafetyScorer:
    """The largest of (cosine - threshold) over the checker's concepts; the checker hides an image from above 0 on.

    It also lowers its thresholds by 0.01 where an image comes near one of three further concepts; the score does not.
    """

    def __init__(self, model: Any, device: str) -> None:
        self._model, self._device = model.to(device).eval(), device
        side = model.config.vision_config.image_size
        # Normalised as CLIP's images are, whose vision tower the checker has.
        self._processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

    def release(self) -> None:
        del self._model

    @torch.inference_mode()
    def score(self, captions: Sequence[str], images: Sequence[Pixels]) -> list[dict[str, float]]:
        """
        Raises:
            UnitFault: a score is not finite.
        """
        concepts = functional.normalize(self._model.concept_embeds, dim=1)
        found: list[dict[str, float]] = []
        for part in batches(len(images), _BATCH):
            pixels = self._processor(list(images[part]), return_tensors="pt")["pixel_values"].to(self._device)
            pooled = self._model.vision_model(pixels).pooler_output
            cosines = functional.normalize(self._model.visual_projection(pooled), dim=1) @ concepts.T
            nearest = (cosines - self._model.concept_embeds_weights).amax(dim=1)
            if not nearest.isfinite().all():
                raise UnitFault("render.nsfw_score: a score is not finite; the safety checker's weights are damaged")
            found += [{NSFW: value} for value in nearest.tolist()]
        return found
