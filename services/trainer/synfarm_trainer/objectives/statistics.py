"""Among whose crops a pass is normalised, when heads have BatchNorm."""

from __future__ import annotations

from synfarm_trainer.config import ProjectedConfig
from synfarm_trainer.models.batch_norm import Among
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.refusal import RunRefused

__all__ = ["among_of"]


def among_of(config: ProjectedConfig, batch: TensorBatch, ranks: Ranks, micro_crops: int) -> Among | None:
    """None for heads without BatchNorm.

    Raises:
        RunRefused: passes would be smaller than the rank's share of the batch.
    """
    if config.head_norm == "layer":
        return None
    if micro_crops < len(batch):
        raise RunRefused(
            "execution.micro_captions: BatchNorm needs a rank's whole share in one pass; set it to 0, or "
            "objective.head_norm to layer"
        )
    return Among(ranks, batch.captions)
