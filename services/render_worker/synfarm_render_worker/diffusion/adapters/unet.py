"""Families with a convolutional UNet: Stable Diffusion 1.x and 2.x, latent consistency models, Stable Diffusion XL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from synfarm_render_worker.diffusion.adapters.protocol import Arguments, Embedding, Reader

__all__ = ["StableDiffusion", "StableDiffusionXL"]


class StableDiffusion:
    """``StableDiffusionPipeline`` and ``LatentConsistencyModelPipeline``, without safety checker."""

    flow_matching = False
    side_limit: int | None = None

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    @property
    def denoiser(self) -> Any:
        return self.pipeline.unet

    @property
    def reader(self) -> Reader:
        return Reader(self.pipeline.tokenizer, self.pipeline.tokenizer.model_max_length)

    @property
    def side_multiple(self) -> int:
        return int(self.pipeline.vae_scale_factor)

    def vae_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return dtype

    def halves(self, guidance: float) -> bool:
        # A network with a place for the guidance (LCM) was distilled to do both passes in one.
        return guidance > 1 and self.denoiser.config.time_cond_proj_dim is None

    def encode(self, captions: Sequence[str]) -> Embedding:
        return Embedding(self._encode_prompt(captions)[0])

    def unconditional(self) -> Embedding:
        return self.encode([""])

    def noise_shape(self, size: int) -> tuple[int, int, int]:
        side = size // self.side_multiple
        return self.denoiser.config.in_channels, side, side

    def timesteps(self, scheduler: Any, steps: int, size: int) -> torch.Tensor:
        scheduler.set_timesteps(steps, device="cpu")
        times: torch.Tensor = scheduler.timesteps
        return times

    def begin(self, noise: torch.Tensor, scheduler: Any) -> torch.Tensor:
        latents: torch.Tensor = noise * scheduler.init_noise_sigma
        return latents

    def arguments(self, embedding: Embedding, *, size: int, guidance: float) -> Arguments:
        return {
            "encoder_hidden_states": embedding.tokens,
            "timestep_cond": self._guidance_embedding(len(embedding.tokens), guidance),
        }

    def predict(self, sample: torch.Tensor, time: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        predicted: torch.Tensor = self.denoiser(sample, time, return_dict=False, **arguments)[0]
        return predicted

    def to_vae(self, latents: torch.Tensor, size: int) -> torch.Tensor:
        scaled: torch.Tensor = latents / self.pipeline.vae.config.scaling_factor
        return scaled

    def _encode_prompt(self, captions: Sequence[str]) -> Any:
        return self.pipeline.encode_prompt(
            list(captions),
            device=self.denoiser.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )

    def _guidance_embedding(self, rows: int, guidance: float) -> torch.Tensor | None:
        width = self.denoiser.config.time_cond_proj_dim
        if width is None:
            return None
        embedded: torch.Tensor = self.pipeline.get_guidance_scale_embedding(
            torch.tensor(guidance - 1).repeat(rows), embedding_dim=width
        )
        return embedded.to(self.denoiser.device, self.denoiser.dtype)


class StableDiffusionXL(StableDiffusion):
    """``StableDiffusionXLPipeline``: a pooled embedding and the image's size as conditions, and no watermark."""

    def vae_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return torch.float32 if self.pipeline.vae.config.force_upcast else dtype

    def encode(self, captions: Sequence[str]) -> Embedding:
        encoded = self._encode_prompt(captions)
        return Embedding(encoded[0], encoded[2])

    def unconditional(self) -> Embedding:
        empty = self.encode([""])
        if not self.pipeline.config.force_zeros_for_empty_prompt or empty.pooled is None:
            return empty
        # The model's own word for "no caption": it was trained with zeros in this place.
        return Embedding(torch.zeros_like(empty.tokens), torch.zeros_like(empty.pooled))

    def arguments(self, embedding: Embedding, *, size: int, guidance: float) -> Arguments:
        # Drawn whole and not cropped: height, width, crop's top and left, height and width aimed at.
        sides = torch.tensor([[size, size, 0, 0, size, size]], dtype=embedding.tokens.dtype)
        added = {
            "text_embeds": embedding.pooled,
            "time_ids": sides.to(embedding.tokens.device).expand(len(embedding.tokens), -1),
        }
        return {**super().arguments(embedding, size=size, guidance=guidance), "added_cond_kwargs": added}

    def to_vae(self, latents: torch.Tensor, size: int) -> torch.Tensor:
        config = self.pipeline.vae.config
        mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if mean is None or deviation is None:
            return super().to_vae(latents, size)
        mean_c11 = torch.tensor(mean, device=latents.device, dtype=latents.dtype).view(1, -1, 1, 1)
        deviation_c11 = torch.tensor(deviation, device=latents.device, dtype=latents.dtype).view(1, -1, 1, 1)
        scaled: torch.Tensor = latents * deviation_c11 / config.scaling_factor + mean_c11
        return scaled
