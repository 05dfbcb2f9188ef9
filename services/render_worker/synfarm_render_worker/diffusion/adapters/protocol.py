"""The seam between the denoising loop and a family of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

__all__ = ["Arguments", "Embedding", "FamilyAdapter", "Reader"]

Arguments = Mapping[str, Any]
"""What the denoiser takes beside sample and time: made once for a batch, the same at each of its steps."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Encoded captions: one row each."""

    tokens: torch.Tensor
    """Rows x tokens x width."""
    pooled: torch.Tensor | None = None
    """Rows x width, where the family has it."""

    def rows(self) -> list[Embedding]:
        """Each caption by itself."""
        return [
            Embedding(self.tokens[i : i + 1], None if self.pooled is None else self.pooled[i : i + 1])
            for i in range(len(self.tokens))
        ]

    def repeated(self, count: int) -> Embedding:
        """Of one row, ``count`` of it."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        return Embedding(self.tokens.expand(count, -1, -1), pooled)

    @staticmethod
    def joined(parts: Sequence[Embedding]) -> Embedding:
        """The rows of all parts, in order."""
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return Embedding(torch.cat([part.tokens for part in parts]), torch.cat(pooled) if pooled else None)


@dataclass(frozen=True, slots=True)
class Reader:
    """Of a family's text encoders the one that reads most of a caption."""

    tokenizer: Any
    limit: int
    """Tokens, those that mark beginning and end among them."""

    def cuts(self, caption: str) -> bool:
        """Whether it reads the caption's beginning alone."""
        return len(self.tokenizer(caption, truncation=False).input_ids) > self.limit


class FamilyAdapter(Protocol):
    """One loaded pipeline. Latents are float32 between steps; the denoiser gets its own dtype."""

    pipeline: Any

    @property
    def flow_matching(self) -> bool:
        """Whether its scheduler is the only one that fits it."""

    @property
    def denoiser(self) -> Any:
        """The network that is called at each step."""

    @property
    def reader(self) -> Reader: ...

    @property
    def side_multiple(self) -> int:
        """Image sides are multiples of this (px)."""

    @property
    def side_limit(self) -> int | None:
        """The largest side that its positions reach (px)."""

    def vae_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """In which the VAE is to decode when all else has ``dtype``."""

    def halves(self, guidance: float) -> bool:
        """Whether guidance takes a pass without the caption beside the one with it."""

    def encode(self, captions: Sequence[str]) -> Embedding:
        """One row a caption, truncated as the encoders do."""

    def unconditional(self) -> Embedding:
        """One row: what stands for no caption."""

    def noise_shape(self, size: int) -> tuple[int, int, int]:
        """Channels, height and width of the noise of one image of ``size`` px."""

    def timesteps(self, scheduler: Any, steps: int, size: int) -> torch.Tensor:
        """Sets the scheduler up, and returns its times (on the CPU, so that no step waits for the device)."""

    def begin(self, noise: torch.Tensor, scheduler: Any) -> torch.Tensor:
        """Noise (images x channels x height x width) to the first latents; after ``timesteps``."""

    def arguments(self, embedding: Embedding, *, size: int, guidance: float) -> Arguments:
        """For as many images as the embedding has rows."""

    def predict(self, sample: torch.Tensor, time: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """The denoiser's output for a sample (its own dtype) at one time (a scalar on its device)."""

    def to_vae(self, latents: torch.Tensor, size: int) -> torch.Tensor:
        """The last latents, unpacked and at the VAE's scale."""
