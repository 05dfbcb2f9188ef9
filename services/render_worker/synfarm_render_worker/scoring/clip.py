"""How well an image shows its caption: the cosine of their embeddings by a CLIP model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.model_files import first_line
from synfarm_render_worker.renderer import Pixels
from synfarm_render_worker.scoring.scorer import CLIP, batches

__all__ = ["CLIP_FILES", "ClipScorer", "load_clip"]

CLIP_FILES = ("*.json", "*.txt", "model.safetensors", "model-?????-of-?????.safetensors")
_BATCH = 32


def load_clip(folder: Path, device: str) -> ClipScorer:
    """
    Raises:
        EnvironmentFault: the folder holds no CLIP model as safetensors.
    """
    try:
        # float32: half a gigabyte more on the device, and scores that do not depend on what the device computes best.
        model: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        told = first_line(error)
        raise EnvironmentFault(
            f"render.clip_score.model: {folder.name!r} cannot be loaded as a CLIP model ({told}); name one with "
            "tokenizer, preprocessor and safetensors"
        ) from error
    return ClipScorer(model, tokenizer, processor, device)


class ClipScorer:
    """One number an image, some 0.2 to 0.35 for CLIP's usual models where image and caption fit."""

    def __init__(self, model: Any, tokenizer: Any, processor: Any, device: str) -> None:
        self._model = model.to(device).eval()
        self._tokenizer, self._processor, self._device = tokenizer, processor, device
        self._limit: int = model.config.text_config.max_position_embeddings

    def release(self) -> None:
        del self._model

    @torch.inference_mode()
    def score(self, captions: Sequence[str], images: Sequence[Pixels]) -> list[dict[str, float]]:
        """The text is truncated at the model's limit (77 tokens for CLIP's usual ones).

        Raises:
            UnitFault: a score is not finite.
        """
        known = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
        texts = self._texts(list(known))
        found: list[dict[str, float]] = []
        for part in batches(len(images), _BATCH):
            own = texts[[known[caption] for caption in captions[part]]]
            cosines = (self._images(images[part]) * own).sum(dim=1)
            if not cosines.isfinite().all():
                raise UnitFault("render.clip_score: a score is not finite; the CLIP model's weights are damaged")
            found += [{CLIP: value} for value in cosines.tolist()]
        return found

    def _texts(self, captions: list[str]) -> torch.Tensor:
        """Captions x width, rows of length 1."""
        rows = []
        for part in batches(len(captions), _BATCH):
            tokens = self._tokenizer(
                captions[part], padding=True, truncation=True, max_length=self._limit, return_tensors="pt"
            )
            rows.append(self._model.get_text_features(**tokens.to(self._device)).pooler_output)
        return functional.normalize(torch.cat(rows), dim=1)

    def _images(self, images: Sequence[Pixels]) -> torch.Tensor:
        """Images x width, rows of length 1."""
        pixels = self._processor(list(images), return_tensors="pt")["pixel_values"].to(self._device)
        return functional.normalize(self._model.get_image_features(pixel_values=pixels).pooler_output, dim=1)
