"""Presets for machines without accelerators; their numbers are ours, most of them measured."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_trainer.presets.preset import Preset, by

__all__ = ["PRESETS"]

_SIZED = "ours: sized for the budget"
_MEASURED = "ours: tried at this budget (docs/measurements.md)"
_METHOD = "paper: section 3.3"

_TINY = Preset(
    "Two CPU cores, 64-px images, some minutes: the contrastive term alone.",
    {
        **by(
            _SIZED,
            {
                "data.captions_per_batch": 32,
                "data.cache_mib": 512,
                "augment.size": 48,
                "local_crops.size": 24,
                "model.patch": 8,
                "model.width": 128,
                "model.depth": 4,
                "model.heads": 4,
                "objective.head_hidden": 512,
                "objective.head_out": 128,
                "objective.prototypes": 256,
                "objective.patch_hidden": 256,
                "objective.patch_bottleneck": 64,
                "objective.teacher_temperature_steps": 100,
                "schedule.steps": 200,
                "schedule.warmup_steps": 20,
                "checkpoint.every_steps": 40,
            },
        ),
        **by("ours: masks and dropped branches are off, so no cell is needed", {"data.cell_captions": 1}),
        **by(
            "ours: of a few hundred captions a fifth is too few to tell a gain from chance",
            {"data.held_out": 0.3},
        ),
        **by(
            "ours: light, for small images and few steps",
            {
                "augment.scale": (0.7, 1.0),
                "augment.jitter": 0.5,
                "augment.brightness": 0.2,
                "augment.contrast": 0.2,
                "augment.saturation": 0.1,
                "augment.hue": 0.0,
                "augment.gray": 0.0,
                "augment.blur_a": 0.0,
                "augment.blur_b": 0.0,
                "augment.solarize_b": 0.0,
                "local_crops.scale": (0.2, 0.5),
                "local_crops.blur": 0.0,
            },
        ),
        **by(
            "ours: at this budget the other terms cost more steps than they bring (docs/measurements.md)",
            {"local_crops.count": 0, "objective.ibot_weight": 0.0},
        ),
        **by(
            _MEASURED,
            {
                "model.drop_path": 0.0,
                "objective.temperature": 0.1,
                "optim.lr": 2e-3,
                "optim.weight_decay": 0.04,
                "optim.weight_decay_end": 0.04,
            },
        ),
        **by("ours: about 1 / sqrt(width)", {"model.init_std": 0.08}),
        **by(
            "ours: a teacher that follows fast; to 1 that of the last fifty steps would hardly move",
            {"ema.start": 0.9, "ema.end": 0.97},
        ),
        **by(_METHOD, {"data.views": 4}),
    },
)
_SMALL = Preset(
    "Some hours on a server's CPU cores, images of 64 px or more: every term of the method on a small network.",
    {
        **by(
            _SIZED,
            {
                "data.captions_per_batch": 64,
                "data.cell_captions": 4,
                "data.threads": 4,
                "data.cache_mib": 2048,
                "augment.size": 64,
                "local_crops.size": 32,
                "model.patch": 8,
                "model.width": 192,
                "model.depth": 6,
                "model.heads": 3,
                "objective.head_hidden": 1024,
                "objective.head_out": 128,
                "objective.prototypes": 1024,
                "objective.patch_hidden": 512,
                "objective.patch_bottleneck": 128,
                "objective.teacher_temperature_steps": 500,
                "optim.lr": 1e-3,
                "optim.weight_decay_end": 0.1,
                "ema.start": 0.97,
                "schedule.steps": 10_000,
                "schedule.warmup_steps": 1000,
                "checkpoint.every_steps": 200,
            },
        ),
        **by("ours: small images bear less blur", {"augment.blur_a": 0.5, "local_crops.scale": (0.1, 0.32)}),
        **by("ours: about 1 / sqrt(width)", {"model.init_std": 0.06}),
        **by("release: default", {"objective.temperature": 0.1}),
        **by(_METHOD, {"data.views": 4, "local_crops.count": 4}),
        **by("paper: table 12", {"model.drop_path": 0.1, "optim.weight_decay": 0.04}),
    },
)

PRESETS: Mapping[str, Preset] = {"tiny": _TINY, "small": _SMALL}
