"""How weights move: optimiser, schedules and the teacher's momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import later, need

__all__ = ["EmaConfig", "OptimConfig", "ScheduleConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """AdamW (method section 3.8); biases and other one-dimensional tensors are never decayed."""

    lr: float = 2e-3
    min_lr: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.04
    weight_decay_end: float = 0.2
    clip_norm: float = 0.0
    """Largest gradient norm; 0 clips nothing."""
    term_norms_every: int = later(0)
    """Every so many steps the norm of each weighted term's gradient is told (monitors ``gradient_norm.<term>``), which
    costs a backward for each of several terms; 0 for never."""
    decay_rule: Literal["release", "dino", "kernels"] = later("release")
    """What is decayed of that which has two dimensions or more. The paper gives the amount (section 3.4, table 12) and
    names no exceptions, so its presets follow its release.

    ``release``: all whose name holds none of bias, ln, bn; so class token, positions, mask token and prototypes' gains
    are decayed. ``dino``: all but biases, norms and layer scales (DINO, iBOT, DINOv2); for the networks here the same
    tensors. ``kernels``: only weights of linear and convolution layers, embeddings of words, and prototypes; class
    token, positions, mask token and gains are not (the custom of supervised ViTs).
    """
    layer_decay: float = later(1.0)
    """Each block's learning rate is this part of the next one's; heads take the whole. DINOv2: 0.9; 1 for none."""
    patch_embed_scale: float = later(1.0)
    """Of the patch embedding's learning rate, on top of the layer's. DINOv2: 0.2."""

    def __post_init__(self) -> None:
        need(self.lr > 0, "optim.lr", "must be positive")
        need(0 <= self.min_lr <= self.lr, "optim.min_lr", "must be in 0 to optim.lr")
        for name in ("beta1", "beta2"):
            need(0 <= getattr(self, name) < 1, f"optim.{name}", "must be in [0, 1)")
        need(self.eps > 0, "optim.eps", "must be positive")
        for name in ("weight_decay", "weight_decay_end", "clip_norm", "term_norms_every"):
            need(getattr(self, name) >= 0, f"optim.{name}", "must not be negative")
        need(0 < self.layer_decay <= 1, "optim.layer_decay", "must be in (0, 1]; 1 is the same rate everywhere")
        need(self.patch_embed_scale >= 0, "optim.patch_embed_scale", "must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaConfig:
    """Momentum of the teacher, on a half cosine over the run (method section 3.7)."""

    start: float = 0.994
    end: float = 1.0

    def __post_init__(self) -> None:
        need(0 <= self.start <= self.end <= 1, "ema.start", "must be in 0 to ema.end, and that at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    steps: int = 500_000
    warmup_steps: int = 80_000

    def __post_init__(self) -> None:
        need(self.steps >= 1, "schedule.steps", "must be at least 1")
        cure = f"must be below schedule.steps: in 0 to {self.steps - 1}"
        need(0 <= self.warmup_steps < self.steps, "schedule.warmup_steps", cure)
