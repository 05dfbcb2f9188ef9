"""Where the defaults of objectives come from. A class that changes a default of its base names a source of its own."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_trainer.config import (
    ClipConfig,
    ContrastiveConfig,
    DinoConfig,
    Dinov2Config,
    IbotConfig,
    MaeConfig,
    MaskedPrototypeConfig,
    MocoV3Config,
    PrototypeConfig,
    SimclrConfig,
    StablerepConfig,
    SupceConfig,
    SynclrConfig,
)

__all__ = ["OBJECTIVE_SOURCES"]

_CHOSEN = "ours: the objective of this section"
_PAPER_34 = "paper: section 3.4"
_RELEASE = "release: default"
_DINO = "literature: DINO's release (Caron et al. 2021)"
_DINOV2 = "literature: DINOv2 (Oquab et al. 2023), large models"
_IBOT = "literature: iBOT's release (Zhou et al. 2022)"
_MOCO = "literature: MoCo v3 (Chen, Xie and He 2021)"
_MAE = "literature: MAE (He et al. 2022), section 4.1"
_TEXT = "release: StableRep's CLIP"

OBJECTIVE_SOURCES: Mapping[type, Mapping[str, str]] = {
    SynclrConfig: {
        "name": "paper: equation 4",
        "local_weight": "paper: equation 4",
        "ibot_weight": "paper: equation 4",
        **dict.fromkeys(
            (
                "temperature",
                "prototypes",
                "teacher_temperature_start",
                "teacher_temperature",
                "teacher_temperature_steps",
            ),
            _PAPER_34,
        ),
        **dict.fromkeys(
            ("head_hidden", "head_out", "patch_hidden", "patch_bottleneck", "train_gain", "student_temperature"),
            _RELEASE,
        ),
        "sinkhorn_rounds": "paper: section 3.3",
    },
    ContrastiveConfig: dict.fromkeys(("temperature", "head_hidden", "head_out"), "release: StableRep's command"),
    StablerepConfig: {"name": _CHOSEN},
    SimclrConfig: {"name": _CHOSEN},
    MocoV3Config: {
        "name": _CHOSEN,
        **dict.fromkeys(("temperature", "head_hidden", "head_out", "freeze_patches"), _MOCO),
    },
    PrototypeConfig: dict.fromkeys(
        (
            "prototypes",
            "prototype_hidden",
            "prototype_bottleneck",
            "train_gain",
            "last_layer_frozen",
            "student_temperature",
            "teacher_temperature_start",
            "teacher_temperature",
            "teacher_temperature_warmup",
            "targets",
            "center_momentum",
            "sinkhorn_rounds",
        ),
        _DINO,
    ),
    DinoConfig: {"name": _CHOSEN},
    MaskedPrototypeConfig: dict.fromkeys(("ibot_weight", "separate_heads"), _IBOT),
    IbotConfig: {"name": _CHOSEN, "prototypes": _IBOT},
    Dinov2Config: {
        "name": _CHOSEN,
        **dict.fromkeys(("train_gain", "separate_heads", "targets", "koleo_weight"), _DINOV2),
    },
    MaeConfig: {
        "name": _CHOSEN,
        **dict.fromkeys(("decoder_width", "decoder_depth", "decoder_heads", "normalise_patches"), _MAE),
    },
    SupceConfig: {"name": _CHOSEN, "label_smoothing": "ours: plain cross-entropy"},
    ClipConfig: {
        "name": _CHOSEN,
        **dict.fromkeys(("joint_width", "text_width", "text_depth", "text_heads"), _TEXT),
        "context": "ours: tokens are bytes, of which a caption has more than words",
    },
}
