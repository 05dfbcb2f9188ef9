"""Any text-to-image pipeline of diffusers behind the Renderer protocol; the only file that loads torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoPipelineForText2Image, DDIMScheduler, DPMSolverMultistepScheduler

from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.renderer import ImageRequest, RenderedImage, Spent, Step, no_step

__all__ = ["DiffusersRenderer", "load_pipeline"]

_NOISE_DEVICE = "cpu"
"""Noise is drawn on the CPU: its numbers are the same for every GPU model."""


def load_pipeline(settings: RenderSettings, *, dtype: torch.dtype) -> Any:
    """The job's pipeline, from the hub by revision or from a local folder, safetensors only.

    Raises:
        UnitFault: a hub model without a revision.
        EnvironmentFault: it cannot be loaded here.
    """
    assert settings.model is not None, "the contract demands a model of diffusers jobs"
    local = Path(settings.model).is_dir()
    if not local and settings.revision is None:
        raise UnitFault(
            f"render.revision: pin {settings.model!r} to a commit of its repository, or name a local folder"
        )
    try:
        return AutoPipelineForText2Image.from_pretrained(  # type: ignore[no-untyped-call]
            settings.model, revision=settings.revision, dtype=dtype, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise EnvironmentFault(f"the model {settings.model!r} cannot be loaded: {error}") from error


class DiffusersRenderer:
    """Method section 2: DDIM, guidance, empty negative prompt, no safety checker, stored size by resizing.

    Each image has noise of its own seed, so that neither batch nor neighbours change it (to float rounding). Each
    caption is encoded once for its images of a call, the empty prompt once a process.
    """

    def __init__(
        self,
        settings: RenderSettings,
        pipeline: Any,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        batch_hint: int | None = None,
    ) -> None:
        self._settings, self._device = settings, torch.device(device)
        scheduler: Any = DDIMScheduler if settings.sampler == "ddim" else DPMSolverMultistepScheduler
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
        if getattr(pipeline, "safety_checker", None) is not None:
            # It turns frames black, and black frames must not enter the set; scoring is a later stage's work.
            pipeline.safety_checker = None
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline.to(self._device)
        self._batch_hint = batch_hint or (16 if device == "cuda" else 4)
        self._empty: torch.Tensor | None = None

    @property
    def name(self) -> str:
        return "diffusers"

    @property
    def model(self) -> str | None:
        return self._settings.model

    @property
    def revision(self) -> str | None:
        return self._settings.revision

    @property
    def capability(self) -> str:
        return self._settings.capability

    @property
    def versions(self) -> Mapping[str, str]:
        known = {
            "torch": str(torch.__version__),
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "dtype": str(self._pipeline.unet.dtype).removeprefix("torch."),
        }
        if self._device.type == "cuda":
            known["gpu"] = torch.cuda.get_device_name(self._device)
        return known

    @property
    def batch_hint(self) -> int:
        return self._batch_hint

    @torch.inference_mode()
    def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
        """
        Raises:
            UnitFault: NaN or infinity in an image, or out of memory with a single image.
        """
        known: dict[str, torch.Tensor] = {}
        images: list[RenderedImage] = []
        for batch in _slices(requests, self._batch_hint):
            images += self._batch(batch, known)
        return images

    def spent(self) -> Spent:
        return Spent()

    def _batch(self, requests: Sequence[ImageRequest], known: dict[str, torch.Tensor]) -> list[RenderedImage]:
        try:
            return self._draw(requests, known)
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            if len(requests) == 1:
                raise UnitFault(f"out of GPU memory with one image of {self._render_size} px") from error
        # Out of memory: half of it, and from now on.
        self._batch_hint = max(1, len(requests) // 2)
        return [image for half in _slices(requests, self._batch_hint) for image in self._batch(half, known)]

    @property
    def _render_size(self) -> int:
        return self._settings.render_size or self._settings.size

    def _draw(self, requests: Sequence[ImageRequest], known: dict[str, torch.Tensor]) -> list[RenderedImage]:
        arrays: Any = self._pipeline(
            prompt_embeds=torch.cat([self._encoded(request.caption, known) for request in requests]),
            negative_prompt_embeds=self._empty_prompt().expand(len(requests), -1, -1),
            latents=self._noise(requests),
            height=self._render_size,
            width=self._render_size,
            num_inference_steps=self._settings.steps,
            guidance_scale=self._settings.guidance,
            eta=0.0,
            output_type="np",
        ).images
        return [self._stored(array, request) for array, request in zip(arrays, requests, strict=True)]

    def _stored(self, array: Any, request: ImageRequest) -> RenderedImage:
        """Floats in [0, 1] to bytes: clamped and truncated (method section 2)."""
        if not np.isfinite(array).all():
            raise UnitFault(f"NaN or infinity in the image of seed {request.seed}: {request.caption[:120]!r}")
        return RenderedImage((np.clip(array, 0, 1) * 255).astype(np.uint8))

    def _noise(self, requests: Sequence[ImageRequest]) -> torch.Tensor:
        """One row of latents per image: images x channels x height/f x width/f."""
        side = self._render_size // self._pipeline.vae_scale_factor
        shape = (1, self._pipeline.unet.config.in_channels, side, side)
        rows = [
            torch.randn(shape, generator=torch.Generator(_NOISE_DEVICE).manual_seed(request.seed), dtype=torch.float32)
            for request in requests
        ]
        return torch.cat(rows).to(self._device, self._pipeline.unet.dtype)

    def _empty_prompt(self) -> torch.Tensor:
        if self._empty is None:
            self._empty = self._encode("")
        return self._empty

    def _encoded(self, caption: str, known: dict[str, torch.Tensor]) -> torch.Tensor:
        if caption not in known:
            known[caption] = self._encode(caption)
        return known[caption]

    def _encode(self, text: str) -> torch.Tensor:
        """1 x tokens x width."""
        encoded: torch.Tensor = self._pipeline.encode_prompt(
            text, self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )[0]
        return encoded


def _slices(requests: Sequence[ImageRequest], size: int) -> Iterator[Sequence[ImageRequest]]:
    for start in range(0, len(requests), size):
        yield requests[start : start + size]
