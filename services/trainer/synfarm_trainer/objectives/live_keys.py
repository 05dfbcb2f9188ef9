"""Contrast in which anchors and keys are the same features, all with their gradient: exact at any memory size.

The gradient of a micro-batch needs every other feature of the global batch. So features are made once without a graph,
gathered, and the loss is differentiated in them; then each micro-batch is passed again and handed its features'
gradient (cached gradients). What is random in a pass (dropped branches) is part of the batch, so both passes are equal.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synfarm_trainer.losses.contrast_tiles import multi_positive_loss_in_tiles
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.monitors import watched
from synfarm_trainer.objectives.protocol import StepTerms
from synfarm_trainer.ranks import Ranks

__all__ = ["accumulate_contrast"]


def accumulate_contrast(
    embed: Callable[[TensorBatch], Tensor],
    batch: TensorBatch,
    labels: Tensor,
    ranks: Ranks,
    *,
    temperature: float,
    micro_crops: int,
) -> StepTerms:
    """The mean over all anchors of the global batch of the multi-positive loss (method section 3.5, StableRep).

    Args:
        embed: (m, H, W, 3) crops of a part to (m, d) unit vectors.
        labels: (n,) of this rank's crops; equal labels, on whatever ranks, are positives. A crop is not its own.
        micro_crops: crops in one pass.

    Raises:
        NoPositive: a crop has no positive in the global batch.
    """
    parts = batch.parts(micro_crops)
    whole = len(parts) == 1
    with torch.set_grad_enabled(whole):  # a single pass keeps its graph: it need not be made again
        passes = [embed(part) for part in parts]
    own = torch.cat([features.detach() for features in passes])
    count = len(own)
    everyone = ranks.gather(own).requires_grad_()
    start = ranks.rank * count
    places = torch.arange(start, start + count, device=own.device)
    all_labels = ranks.gather(labels)
    losses = multi_positive_loss_in_tiles(
        everyone[start : start + count], everyone, labels, all_labels, places, temperature
    )
    loss = losses.sum() / len(everyone)
    (sent,) = torch.autograd.grad(loss, everyone)
    # What all ranks' anchors ask of this rank's features.
    gradient = ranks.sum_own(sent)
    for place, part in enumerate(parts):
        features = passes[place] if whole else embed(part)
        asked = gradient[place * micro_crops : place * micro_crops + len(part)]
        ranks.backward([features], [asked], last=place == len(parts) - 1)
    monitors = watched(everyone.detach(), all_labels)
    return StepTerms({"contrastive": loss.detach().double()}, {"contrastive": 1.0}, monitors)
