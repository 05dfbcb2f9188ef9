"""Rows of the paper's tables 2, 4, 5 and 10. What a row says of captions is the job that a run is given.

Tables 2, 4 and 5 are ViT-B/16 on 10M captions, 85,000 steps of 2,048 captions. The paper leaves the rest of their
recipe open; it is that of the final models here, with warm-up and learning rate brought to the length and the batch.
"""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_trainer.presets.preset import Preset, Setting, by
from synfarm_trainer.presets.synclr import EXECUTION, METHOD, PAPERS_HEADS, VIT_B16, WHOLE_SHARE
from synfarm_trainer.presets.synclr import PRESETS as FINAL

__all__ = ["PRESETS"]

_ROWS: Mapping[str, Setting] = {
    **EXECUTION,
    **VIT_B16,
    **by("paper: section 4.1", {"data.captions_per_batch": 2048, "schedule.steps": 85_000}),
    **by("inferred: the final models' share of the run, 16 %", {"schedule.warmup_steps": 13_600}),
    **by(
        "inferred: the release's rule, 1.5e-4 x (2048 captions x 4 images / 2) / 256",
        {"optim.lr": 2.4e-3},
    ),
    **by("inferred: as the final ViT-B/16", {"model.drop_path": 0.1, "augment.name": "paper"}),
}
_ALL: Mapping[str, Setting] = {**_ROWS, **METHOD, **PAPERS_HEADS}
_RECIPE: Mapping[str, Setting] = {
    **_ROWS,
    **by(
        "inferred: as the final ViT-B/16",
        {"optim.beta1": 0.9, "optim.beta2": 0.999, "optim.weight_decay": 0.04, "optim.weight_decay_end": 0.2},
    ),
}
"""Without what belongs to SynCLR's terms alone."""
_STABLEREP: Mapping[str, Setting] = {
    **_RECIPE,
    **by("paper: table 4, no EMA, iBOT or multi-crop", {"objective.name": "stablerep"}),
    **by("paper: section 3.2", {"data.views": 4}),
    **by("release: StableRep's command", {"objective.temperature": 0.1, "objective.head_norm": "batch"}),
    **WHOLE_SHARE,
}


def _without(*, ibot: bool = False, crops: bool = False) -> dict[str, Setting]:
    off: dict[str, object] = {}
    if ibot:
        off["objective.ibot_weight"] = 0.0
    if crops:
        off.update({"objective.local_weight": 0.0, "local_crops.count": 0})
    return {**_ALL, **by("paper: table 4", off)}


_SUPCE: Mapping[str, Setting] = {
    **_RECIPE,
    **by("paper: table 5, the concept is the class", {"objective.name": "supce"}),
    **by("inferred: as many images a batch as in the other rows", {"data.views": 4}),
    **by(
        "literature: How to train your ViT (Steiner et al. 2021), which the paper names",
        {"optim.lr": 1e-3, "optim.weight_decay": 0.1, "optim.weight_decay_end": 0.1, "optim.clip_norm": 1.0},
    ),
}
_SIMCLR: Mapping[str, Setting] = {
    **_RECIPE,
    **by("paper: table 5, the image is the class", {"objective.name": "simclr"}),
    **by("inferred: each image on its own, two crops of it", {"data.views": 1, "data.crops": 2}),
    **by("inferred: as many crops a batch as in the other rows", {"data.captions_per_batch": 4096}),
    **by("release: StableRep's command", {"objective.temperature": 0.1, "objective.head_norm": "batch"}),
    **WHOLE_SHARE,
}
_CLIP: Mapping[str, Setting] = {
    **EXECUTION,
    **VIT_B16,
    **by(
        "paper: table 10 and its text, one of a caption's images a time",
        {"objective.name": "clip", "data.views": 1, "data.captions_per_batch": 32_768},
    ),
    **by("paper: table 10 and its text, 32 epochs of 150M captions", {"schedule.steps": 146_484}),
    **by(
        "literature: CLIP (Radford et al. 2021), its ViT-B/16",
        {
            "optim.lr": 5e-4,
            "optim.beta1": 0.9,
            "optim.beta2": 0.98,
            "optim.eps": 1e-6,
            "optim.weight_decay": 0.2,
            "optim.weight_decay_end": 0.2,
            "schedule.warmup_steps": 2000,
            "model.drop_path": 0.0,
        },
    ),
    **by(
        "inferred: CLIP only crops, from half of the image on as StableRep's weak form",
        {"augment.name": "stablerep-weak"},
    ),
    **by("ours: one image a caption, so four times the captions in a pass", {"execution.micro_captions": 64}),
}

PRESETS: Mapping[str, Preset] = {
    "table2-stablerep": Preset("Table 2, StableRep: one run for each of its five sets of captions.", _STABLEREP),
    "table2-synclr": Preset("Table 2, SynCLR: one run for each of its five sets of captions.", _ALL),
    "table4-stablerep": Preset("Table 4, first row: StableRep.", _STABLEREP),
    "table4-ema": Preset("Table 4: with the EMA teacher.", _without(ibot=True, crops=True)),
    "table4-ema-ibot": Preset("Table 4: with EMA and iBOT.", _without(crops=True)),
    "table4-ema-multicrop": Preset("Table 4: with EMA and multi-crop.", _without(ibot=True)),
    "table4-all": Preset("Table 4, last row: EMA, iBOT and multi-crop.", _ALL),
    "table5-supce": Preset("Table 5: supervised cross-entropy.", _SUPCE),
    "table5-simclr": Preset("Table 5: SimCLR.", _SIMCLR),
    "table5-multi-positive": Preset("Table 5: multi-positive contrast, that is StableRep.", _STABLEREP),
    "table10-synclr": Preset(
        "Table 10, SynCLR: as synclr-b16-paper, on SynCaps or LAION's captions.", FINAL["synclr-b16-paper"].settings
    ),
    "table10-clip": Preset("Table 10, CLIP on the same captions and images.", _CLIP),
}
