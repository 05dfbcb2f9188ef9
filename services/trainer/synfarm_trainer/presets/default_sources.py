"""Where the configuration's defaults come from, by section and field; those of objectives are in their own table."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import get_annotations

from synfarm_trainer.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    EmaConfig,
    EvalConfig,
    ExecutionConfig,
    LocalCropsConfig,
    MaskConfig,
    ModelConfig,
    OptimConfig,
    ScheduleConfig,
    family_fields,
)
from synfarm_trainer.config.checks import late_defaults
from synfarm_trainer.presets.objective_sources import OBJECTIVE_SOURCES

__all__ = ["default_source"]

_FARM = "ours: how this trainer reads and guards its data"
_AUGMENT = "release: augmentations.py"
_PAPER_12 = "paper: table 12"
_SOURCES: Mapping[type, Mapping[str, str]] = {
    DataConfig: {
        "captions_per_batch": "ours: small enough for any machine",
        "cell_captions": _FARM,
        "views": "paper: section 3.2",
        "crops": "paper: section 3.3",
        "held_out": "ours: the paper holds nothing out",
        "block_shards": _FARM,
        "threads": _FARM,
        "prefetch_steps": _FARM,
        "cache_mib": _FARM,
        "max_refill_rate": _FARM,
        "refill_allowance": _FARM,
    },
    AugmentConfig: {
        "size": "paper: section 4.2",
        "name": _AUGMENT,
        **{
            name.removeprefix("augment."): _AUGMENT
            for name in family_fields("synclr-release")
            if name.startswith("augment.")
        },
        "downsample_sides": "release: StableRep's trainer",
    },
    LocalCropsConfig: {"count": "paper: section 4", "size": _AUGMENT, "scale": _AUGMENT, "blur": _AUGMENT},
    MaskConfig: dict.fromkeys(("images", "ratio", "shape"), "paper: section 3.4"),
    ModelConfig: {
        **dict.fromkeys(("patch", "width", "depth", "heads", "mlp_ratio"), "paper: section 4.2, ViT-B/16"),
        "drop_path": _PAPER_12,
        "init_std": "release: vision transformer",
    },
    OptimConfig: {
        **dict.fromkeys(("lr", "beta1", "beta2", "weight_decay", "weight_decay_end"), _PAPER_12),
        "min_lr": "release: default",
        "eps": "inferred: AdamW's usual one",
        "clip_norm": "release: none; the paper is silent",
    },
    EmaConfig: dict.fromkeys(("start", "end"), "paper: section 3.3"),
    ScheduleConfig: dict.fromkeys(("steps", "warmup_steps"), _PAPER_12),
    CheckpointConfig: {"every_steps": "ours: minutes of work at most are lost"},
    EvalConfig: dict.fromkeys(
        ("knn", "k", "bank_captions", "test_captions", "bootstrap", "patch_pca", "patch_pca_captions"),
        "ours: what is looked at beside the training",
    ),
    ExecutionConfig: dict.fromkeys(("deterministic", "threads", "micro_captions"), "ours: how a step is computed"),
    **OBJECTIVE_SOURCES,
}
_LATER = "ours: as the trainer was before it had the field"


def default_source(kind: type, field: str) -> str:
    """Of the default of ``kind``'s ``field``: the word of the class that sets it, of its bases the nearest.

    Raises:
        KeyError: nobody says.
    """
    for base in kind.__mro__:
        if field in _SOURCES.get(base, {}):
            return _SOURCES[base][field]
        if field in get_annotations(base):
            break
    if field in late_defaults(kind):
        return _LATER
    raise KeyError(f"{kind.__name__}.{field} has no source; name it in {__name__}")
