"""The paper's final models (its section 3.4 and table 12), and the command of the authors' release."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_trainer.presets.preset import Preset, Setting, by

__all__ = ["EXECUTION", "METHOD", "PAPERS_HEADS", "PRESETS", "VIT_B16", "WHOLE_SHARE"]

EXECUTION: Mapping[str, Setting] = by(
    "ours: for many captions on server machines",
    {
        "data.threads": 8,
        "data.cache_mib": 16_384,
        "data.cache_disk_mib": 65_536,
        "data.fetch_threads": 64,
        "data.cutting": "compiled",
        "checkpoint.every_steps": 1000,
        "checkpoint.keep_last": 3,
        "checkpoint.keep_every": 25_000,
        "execution.micro_captions": 16,
    },
)
VIT_B16: Mapping[str, Setting] = {
    **by("paper: section 4.2, ViT-B/16", {"model.patch": 16, "model.width": 768, "model.depth": 12, "model.heads": 12}),
    **by("paper: section 4.2", {"augment.size": 224}),
}
METHOD: Mapping[str, Setting] = {
    **by("paper: section 3.2", {"data.views": 4}),
    **by("paper: section 3.3", {"ema.start": 0.994, "ema.end": 1.0, "objective.sinkhorn_rounds": 3}),
    **by(
        "paper: section 3.4",
        {
            "objective.temperature": 0.08,
            "objective.prototypes": 65_536,
            "objective.teacher_temperature_start": 0.04,
            "objective.teacher_temperature": 0.07,
            "objective.teacher_temperature_steps": 4000,
            "mask.images": 0.5,
            "mask.ratio": (0.5, 0.5),
            "mask.shape": "random",
        },
    ),
    **by("paper: section 4", {"local_crops.count": 4}),
    **by("paper: equation 4", {"objective.local_weight": 1.0, "objective.ibot_weight": 1.0}),
    **by(
        "paper: table 12",
        {"optim.beta1": 0.9, "optim.beta2": 0.999, "optim.weight_decay": 0.04, "optim.weight_decay_end": 0.2},
    ),
    **by("release: the paper is silent", {"local_crops.size": 96, "objective.student_temperature": 0.1}),
}
"""What the paper says of the method, whatever the network and the length of the run; less the heads."""
WHOLE_SHARE: Mapping[str, Setting] = by(
    "ours: BatchNorm needs a rank's whole share in one pass, so activations are computed again",
    {"execution.micro_captions": 0, "execution.recompute": "blocks"},
)
PAPERS_HEADS: Mapping[str, Setting] = {
    **by("paper: section 3.4, heads as in MoCo v3", {"objective.head_norm": "batch"}),
    **WHOLE_SHARE,
}
_PAPERS_CROPS = by("paper: table 12, StableRep's Downsample, then BYOL's augmentation", {"augment.name": "paper"})
_FINAL: Mapping[str, Setting] = {
    **EXECUTION,
    **METHOD,
    **by(
        "paper: table 12",
        {"data.captions_per_batch": 8192, "schedule.steps": 500_000, "schedule.warmup_steps": 80_000},
    ),
}
_FINAL_B16: Mapping[str, Setting] = {
    **_FINAL,
    **VIT_B16,
    **by("paper: table 12, ViT-B/16", {"optim.lr": 2e-3, "model.drop_path": 0.1}),
}
_FINAL_L14: Mapping[str, Setting] = {
    **_FINAL,
    **by(
        "paper: section 4.2, ViT-L/14",
        {"model.patch": 14, "model.width": 1024, "model.depth": 24, "model.heads": 16},
    ),
    **by("paper: section 4.2", {"augment.size": 224}),
    **by("paper: table 12, ViT-L/14", {"optim.lr": 1.5e-3, "model.drop_path": 0.4}),
    **by("inferred: 96 is no multiple of 14; 98 as in DINOv2's configuration for patch 14", {"local_crops.size": 98}),
}
_README = "release: command of the README"
_RELEASE: Mapping[str, Setting] = {
    **EXECUTION,
    **VIT_B16,
    **by(
        _README,
        {
            "data.captions_per_batch": 2048,
            "data.views": 4,
            "local_crops.count": 4,
            "objective.local_weight": 1.0,
            "objective.ibot_weight": 1.0,
            "objective.prototypes": 8192,
            "mask.images": 0.5,
            "mask.ratio": (0.5, 0.5),
            "mask.shape": "random",
            "ema.start": 0.994,
            "ema.end": 1.0,
            "optim.weight_decay": 0.1,
            "optim.weight_decay_end": 0.1,
            "optim.beta1": 0.9,
            "optim.beta2": 0.98,
        },
    ),
    **by("release: README's 1.5e-4 x (2048 captions x 4 images / 2) / 256", {"optim.lr": 2.4e-3}),
    **by("release: default", {"objective.temperature": 0.1, "model.drop_path": 0.0, "local_crops.size": 96}),
    **by("release: augmentations.py", {"augment.name": "synclr-release"}),
    **by("inferred: the README's 15 epochs, of 10M captions as in the paper's ablations", {"schedule.steps": 73_242}),
    **by("inferred: the README's half an epoch, of 10M captions", {"schedule.warmup_steps": 2441}),
    **by("inferred: the README's one epoch, of 10M captions", {"objective.teacher_temperature_steps": 4883}),
}

PRESETS: Mapping[str, Preset] = {
    "vit-b16": Preset(
        "As synclr-b16-paper, with the release's augmentation and heads.",
        {**_FINAL_B16, **by("release: augmentations.py", {"augment.name": "synclr-release"})},
    ),
    "synclr-b16-paper": Preset(
        "The paper's final ViT-B/16: 8,192 captions a batch, 500k steps, many GPUs.",
        {**_FINAL_B16, **_PAPERS_CROPS, **PAPERS_HEADS},
    ),
    "synclr-b16-release": Preset("The command of the authors' PyTorch trainer, ViT-B/16.", _RELEASE),
    "synclr-l14-paper": Preset(
        "The paper's final ViT-L/14; local crops of 98 pixels, for patches of 14.",
        {**_FINAL_L14, **_PAPERS_CROPS, **PAPERS_HEADS},
    ),
}
