"""Named configurations, each with what it is for, and the one way from a request to a resolved configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from synfarm_trainer.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EmaConfig,
    ExecutionConfig,
    LocalCropsConfig,
    MaskConfig,
    ModelConfig,
    OptimConfig,
    ScheduleConfig,
    SynclrConfig,
    TrainConfig,
)
from synfarm_trainer.overrides import apply_overrides

__all__ = ["preset_names", "resolve"]


def _tiny() -> TrainConfig:
    """Two CPU cores, 64-px images, some minutes: small crops of light augmentation, a teacher that follows fast.

    The contrastive term alone; at this budget the others cost more steps than they bring (docs/measurements.md).
    """
    return TrainConfig(
        # More is held out than elsewhere: of a few hundred captions a fifth is too few to tell a gain from chance.
        data=DataConfig(captions_per_batch=32, cell_captions=1, views=4, held_out=0.3, cache_mib=512),
        augment=AugmentConfig(
            size=48,
            scale=(0.7, 1.0),
            jitter=0.5,
            brightness=0.2,
            contrast=0.2,
            saturation=0.1,
            hue=0.0,
            gray=0.0,
            blur_a=0.0,
            blur_b=0.0,
            solarize_b=0.0,
        ),
        local_crops=LocalCropsConfig(count=0, size=24, scale=(0.2, 0.5), blur=0.0),
        mask=MaskConfig(),
        model=ModelConfig(patch=8, width=128, depth=4, heads=4, drop_path=0.0, init_std=0.08),
        objective=SynclrConfig(
            temperature=0.1,
            head_hidden=512,
            head_out=128,
            ibot_weight=0.0,
            prototypes=256,
            patch_hidden=256,
            patch_bottleneck=64,
            teacher_temperature_steps=100,
        ),
        optim=OptimConfig(lr=2e-3, weight_decay=0.04, weight_decay_end=0.04),
        # To 1, as in a long run, the teacher of the last fifty steps would hardly move.
        ema=EmaConfig(start=0.9, end=0.97),
        schedule=ScheduleConfig(steps=200, warmup_steps=20),
        checkpoint=CheckpointConfig(every_steps=40),
    )


def _small() -> TrainConfig:
    """Some hours on a server's CPU cores, images of 64 px or more: every term of the method on a small network."""
    return TrainConfig(
        data=DataConfig(captions_per_batch=64, cell_captions=4, views=4, threads=4, cache_mib=2048),
        augment=AugmentConfig(size=64, blur_a=0.5),
        local_crops=LocalCropsConfig(count=4, size=32, scale=(0.1, 0.32)),
        mask=MaskConfig(),
        model=ModelConfig(patch=8, width=192, depth=6, heads=3, drop_path=0.1, init_std=0.06),
        objective=SynclrConfig(
            temperature=0.1,
            head_hidden=1024,
            head_out=128,
            prototypes=1024,
            patch_hidden=512,
            patch_bottleneck=128,
            teacher_temperature_steps=500,
        ),
        optim=OptimConfig(lr=1e-3, weight_decay=0.04, weight_decay_end=0.1),
        ema=EmaConfig(start=0.97),
        schedule=ScheduleConfig(steps=10_000, warmup_steps=1000),
        checkpoint=CheckpointConfig(every_steps=200),
    )


def _vit_b16() -> TrainConfig:
    """The paper's final ViT-B/16 (its section 3.4 and table 12): 8,192 captions a batch, 500k steps, many GPUs.

    Crop sizes, scales, blur and head widths are the release's, where the paper is silent. Not as in the paper: heads
    have LayerNorm (the release's default) instead of BatchNorm, and the augmentation is the release's too; name
    ``augment.name`` ``paper`` for the paper's.
    """
    return TrainConfig(
        data=DataConfig(captions_per_batch=8192, cell_captions=8, views=4, threads=8, cache_mib=16_384),
        augment=AugmentConfig(size=224, scale=(0.32, 1.0)),
        local_crops=LocalCropsConfig(count=4, size=96, scale=(0.08, 0.32)),
        mask=MaskConfig(images=0.5, ratio=(0.5, 0.5), shape="random"),
        model=ModelConfig(patch=16, width=768, depth=12, heads=12, drop_path=0.1),
        objective=SynclrConfig(temperature=0.08, prototypes=65_536),
        optim=OptimConfig(lr=2e-3, beta1=0.9, beta2=0.999, weight_decay=0.04, weight_decay_end=0.2),
        ema=EmaConfig(start=0.994, end=1.0),
        schedule=ScheduleConfig(steps=500_000, warmup_steps=80_000),
        checkpoint=CheckpointConfig(every_steps=1000),
        execution=ExecutionConfig(micro_captions=16),
    )


_PRESETS: Mapping[str, Callable[[], TrainConfig]] = {"tiny": _tiny, "small": _small, "vit-b16": _vit_b16}


def preset_names() -> tuple[str, ...]:
    return tuple(_PRESETS)


def resolve(preset: str, overrides: Mapping[str, object] | None = None) -> TrainConfig:
    """The preset with its overrides applied: ``{"optim.lr": 0.001}``.

    Raises:
        ValueError: unknown preset or field (with near names), or a value that does not fit.
    """
    if preset not in _PRESETS:
        near = get_close_matches(preset, _PRESETS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(_PRESETS)}"
        raise ValueError(f"preset: no preset {preset!r}; {hint}")
    return apply_overrides(_PRESETS[preset](), overrides or {})
