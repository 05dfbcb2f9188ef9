"""Flow-matching families with a transformer: Stable Diffusion 3 and FLUX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from synfarm_render_worker.diffusion.adapters.protocol import Arguments, Embedding, Reader

__all__ = ["Flux", "StableDiffusion3"]


class StableDiffusion3:
    """``StableDiffusion3Pipeline``: three text encoders (the third may be missing), pooled embeddings."""

    flow_matching = True
    _LENGTH = 256
    """T5's tokens."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    @property
    def denoiser(self) -> Any:
        return self.pipeline.transformer

    @property
    def reader(self) -> Reader:
        if self.pipeline.text_encoder_3 is None:
            return Reader(self.pipeline.tokenizer, self.pipeline.tokenizer_max_length)
        return Reader(self.pipeline.tokenizer_3, self._LENGTH)

    @property
    def side_multiple(self) -> int:
        return int(self.pipeline.vae_scale_factor * self.denoiser.config.patch_size)

    @property
    def side_limit(self) -> int | None:
        return int(self.denoiser.config.pos_embed_max_size * self.side_multiple)

    def vae_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return dtype

    def halves(self, guidance: float) -> bool:
        return guidance > 1

    def encode(self, captions: Sequence[str]) -> Embedding:
        encoded = self.pipeline.encode_prompt(
            prompt=list(captions),
            prompt_2=None,
            prompt_3=None,
            device=self.denoiser.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self._LENGTH,
        )
        return Embedding(encoded[0], encoded[2])

    def unconditional(self) -> Embedding:
        return self.encode([""])

    def noise_shape(self, size: int) -> tuple[int, int, int]:
        side = size // int(self.pipeline.vae_scale_factor)
        return self.denoiser.config.in_channels, side, side

    def timesteps(self, scheduler: Any, steps: int, size: int) -> torch.Tensor:
        more: dict[str, Any] = {}
        if scheduler.config.get("use_dynamic_shifting", None):
            more["mu"] = _shift(scheduler.config, (size // self.side_multiple) ** 2, largest=1.16)
        scheduler.set_timesteps(steps, device="cpu", **more)
        times: torch.Tensor = scheduler.timesteps
        return times

    def begin(self, noise: torch.Tensor, scheduler: Any) -> torch.Tensor:
        return noise

    def arguments(self, embedding: Embedding, *, size: int, guidance: float) -> Arguments:
        return {"encoder_hidden_states": embedding.tokens, "pooled_projections": embedding.pooled}

    def predict(self, sample: torch.Tensor, time: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        predicted: torch.Tensor = self.denoiser(
            hidden_states=sample, timestep=time.expand(len(sample)), return_dict=False, **arguments
        )[0]
        return predicted

    def to_vae(self, latents: torch.Tensor, size: int) -> torch.Tensor:
        config = self.pipeline.vae.config
        shifted: torch.Tensor = latents / config.scaling_factor + config.shift_factor
        return shifted


class Flux:
    """``FluxPipeline``: latents packed as rows of 2 x 2 patches.

    With ``guidance_embeds`` the guidance is an input of the network, and there is no pass without the caption.
    Otherwise guidance above 1 is the true one, as ``true_cfg_scale`` with an empty negative prompt.
    """

    flow_matching = True
    side_limit: int | None = None

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    @property
    def denoiser(self) -> Any:
        return self.pipeline.transformer

    @property
    def _length(self) -> int:
        """T5's tokens; the few-step model without guidance was trained with half of them."""
        return 512 if self.denoiser.config.guidance_embeds else 256

    @property
    def reader(self) -> Reader:
        return Reader(self.pipeline.tokenizer_2, self._length)

    @property
    def side_multiple(self) -> int:
        return int(self.pipeline.vae_scale_factor) * 2

    def vae_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return dtype

    def halves(self, guidance: float) -> bool:
        return guidance > 1 and not self.denoiser.config.guidance_embeds

    def encode(self, captions: Sequence[str]) -> Embedding:
        tokens, pooled, _ = self.pipeline.encode_prompt(
            prompt=list(captions),
            prompt_2=None,
            device=self.denoiser.device,
            max_sequence_length=self._length,
        )
        return Embedding(tokens, pooled)

    def unconditional(self) -> Embedding:
        return self.encode([""])

    def noise_shape(self, size: int) -> tuple[int, int, int]:
        side = 2 * (size // self.side_multiple)
        return self.denoiser.config.in_channels // 4, side, side

    def timesteps(self, scheduler: Any, steps: int, size: int) -> torch.Tensor:
        mu = _shift(scheduler.config, (size // self.side_multiple) ** 2, largest=1.15)
        if scheduler.config.get("use_flow_sigmas", False):
            scheduler.set_timesteps(steps, device="cpu", mu=mu)
        else:
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), device="cpu", mu=mu)
        times: torch.Tensor = scheduler.timesteps
        return times

    def begin(self, noise: torch.Tensor, scheduler: Any) -> torch.Tensor:
        packed: torch.Tensor = self.pipeline._pack_latents(noise, *noise.shape)
        return packed

    def arguments(self, embedding: Embedding, *, size: int, guidance: float) -> Arguments:
        network, tokens = self.denoiser, embedding.tokens
        patches = size // self.side_multiple
        scale = None
        if network.config.guidance_embeds:
            scale = torch.full([len(tokens)], guidance, device=network.device, dtype=torch.float32)
        return {
            "guidance": scale,
            "pooled_projections": embedding.pooled,
            "encoder_hidden_states": tokens,
            "txt_ids": torch.zeros(tokens.shape[1], 3, device=network.device, dtype=tokens.dtype),
            "img_ids": self.pipeline._prepare_latent_image_ids(
                len(tokens), patches, patches, network.device, tokens.dtype
            ),
        }

    def predict(self, sample: torch.Tensor, time: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        predicted: torch.Tensor = self.denoiser(
            hidden_states=sample,
            timestep=time.expand(len(sample)).to(sample.dtype) / 1000,
            return_dict=False,
            **arguments,
        )[0]
        return predicted

    def to_vae(self, latents: torch.Tensor, size: int) -> torch.Tensor:
        config = self.pipeline.vae.config
        flat = self.pipeline._unpack_latents(latents, size, size, self.pipeline.vae_scale_factor)
        shifted: torch.Tensor = flat / config.scaling_factor + config.shift_factor
        return shifted


def _shift(config: Any, patches: int, *, largest: float) -> float:
    """How far the times shift towards noise: linear in the number of patches (the pipelines' ``calculate_shift``)."""
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", largest)
    slope = (high - low) / (many - few)
    return float(patches * slope + low - slope * few)
