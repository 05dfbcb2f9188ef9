"""One gradient of SynCLR, teacher first: exact for the global batch at any number of ranks and micro-batches.

The step of method section 3.9 for the objective of the paper's equation 4: multi-positive contrast of global crops, the
same for local crops, and iBOT's masked patches. Targets carry no gradient; so once the teacher has seen the whole batch
every term is a sum over anchors or tokens, and micro-batches add up to the gradient of the large batch as long as each
divides by the *global* counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synfarm_trainer.config import SynclrConfig
from synfarm_trainer.losses.contrast_tiles import multi_positive_loss_in_tiles
from synfarm_trainer.losses.patch_pieces import PatchSide, logit_parts, masked_patch_loss_in_pieces
from synfarm_trainer.losses.sinkhorn import prototype_masses
from synfarm_trainer.models.batch_norm import Among
from synfarm_trainer.models.crops_pass import Crops
from synfarm_trainer.models.places import images_of
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.micro_batches import accumulate_terms
from synfarm_trainer.objectives.monitors import spread, watched
from synfarm_trainer.objectives.protocol import StepTerms
from synfarm_trainer.objectives.statistics import among_of
from synfarm_trainer.objectives.synclr.networks import Networks, Teacher
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

__all__ = ["accumulate_gradients"]


@dataclass(frozen=True, slots=True, eq=False)
class _Lesson:
    """What the teacher makes of a batch."""

    keys: Tensor
    """(N, out): of the global batch, in rank order."""
    labels: Tensor
    """(N,)"""
    embedded: list[Tensor]
    """Of each micro-batch (t, bottleneck), its masked patches; empty without iBOT."""
    compared: Tensor | None
    """(prototypes, bottleneck): what they are compared with."""
    masses: Tensor | None
    """(prototypes,): by these each micro-batch finds its targets, which of the whole share would fill the memory."""
    monitors: dict[str, float]


@torch.no_grad()
def _teach(
    teacher: Teacher,
    parts: list[TensorBatch],
    ranks: Ranks,
    config: SynclrConfig,
    temperature: float,
    among: Among | None,
) -> _Lesson:
    """Keys gathered once, Sinkhorn once over all masked tokens of the global batch."""
    seen = [teacher(normalise(part.pixels, teacher.backbone.dtype), part.places, among) for part in parts]
    keys = ranks.gather(torch.cat([own for own, _ in seen]))
    labels = ranks.gather(torch.cat([part.labels for part in parts]))
    monitors = watched(keys, labels)
    patches = [tokens for _, tokens in seen if tokens is not None]
    embedded: list[Tensor] = []
    masses: Tensor | None = None
    compared: Tensor | None = None
    if patches:
        head = teacher.patch_head
        embedded, compared = [head.embed(tokens) for tokens in patches], head.compared()
        logits = logit_parts(torch.cat(embedded), compared)
        masses = prototype_masses(logits, temperature, config.sinkhorn_rounds, ranks.gather)
        hidden = torch.nn.functional.normalize(torch.cat(patches), dim=-1)
        monitors["patch_spread"] = spread(hidden) if len(hidden) else 0.0
    return _Lesson(keys, labels, embedded, compared, masses, monitors)


def accumulate_gradients(
    networks: Networks,
    batch: TensorBatch,
    ranks: Ranks,
    config: SynclrConfig,
    *,
    micro_crops: int,
    patch_temperature: float,
    separate: TermGradients | None = None,
) -> StepTerms:
    """Add this rank's part of the global gradient to the student's ``grad``; sum over ranks to have the whole.

    Args:
        batch: of the same size on every rank.
        micro_crops: global crops in one pass of a network.
        patch_temperature: of the teacher on masked patches, by its schedule.
        separate: takes each term's gradient too.
    """
    count = len(batch)
    parts, dtype = batch.parts(micro_crops), networks.student.backbone.dtype
    among = among_of(config, batch, ranks, micro_crops)
    lesson = _teach(networks.teacher, parts, ranks, config, patch_temperature, among)
    own = torch.arange(count, device=batch.labels.device) + ranks.rank * count
    every = count * ranks.world
    local_crops = 0 if batch.local_pixels is None else len(batch.local_pixels) * ranks.world
    # Counted, not taken from this rank's share: a rank may have fewer masked images than another, or none.
    masked_images = None if batch.masks is None else ranks.gather(batch.masks.any(dim=1).sum()[None]).sum()

    def contrast(anchors: Tensor, labels: Tensor, left_out: Tensor) -> Tensor:
        losses = multi_positive_loss_in_tiles(anchors, lesson.keys, labels, lesson.labels, left_out, config.temperature)
        return losses.sum()

    uncertainty = torch.zeros((), dtype=torch.float64)

    def terms_of(place: int, part: TensorBatch) -> dict[str, Tensor]:
        nonlocal uncertainty
        terms: dict[str, Tensor] = {}
        small = part.local_pixels
        local = None if small is None else Crops(normalise(small, dtype), kept=part.local_kept)
        images, places = normalise(part.pixels, dtype), part.places
        anchors, predicted = networks.student(images, part.masks, part.kept, among, local, places)
        # A global anchor's own crop, as the teacher saw it, is neither positive nor candidate.
        start = place * micro_crops
        terms["contrastive"] = contrast(anchors[: len(part)], part.labels, own[start : start + len(part)]) / every
        if part.local_pixels is not None:
            # A local anchor meets every key, its own image's too. Local crops are never keys.
            labels = part.local_labels
            alone = torch.full_like(labels, -1)
            terms["contrastive_local"] = contrast(anchors[len(part) :], labels, alone) / local_crops
        if part.masks is not None and places is not None and lesson.compared is not None:
            assert predicted is not None
            assert lesson.masses is not None
            assert masked_images is not None
            head = networks.student.patch_head
            mine = PatchSide(head.embed(predicted), head.compared(), config.student_temperature)
            seen = PatchSide(lesson.embedded[place], lesson.compared, patch_temperature)
            losses, entropies = masked_patch_loss_in_pieces(mine, seen, lesson.masses)
            # Each masked image weighs the same, whatever its number of masked tokens.
            tokens = part.masks.sum(dim=1).index_select(0, images_of(places, part.masks.shape[1]))
            terms["ibot"] = (losses / tokens).sum() / masked_images.clamp(min=1)
            uncertainty = uncertainty + entropies.sum().double()
        return terms

    weights = {"contrastive": 1.0}
    if batch.local_pixels is not None:
        weights["contrastive_local"] = config.local_weight
    if batch.masks is not None:
        weights["ibot"] = config.ibot_weight
    totals = accumulate_terms(parts, terms_of, weights, ranks, separate)
    monitors = lesson.monitors
    if batch.masks is not None:
        hidden = max(1, int(batch.masked.sum()))
        monitors["target_entropy"] = float(uncertainty) / (hidden * math.log(config.prototypes))
        monitors["mask_share"] = float(batch.masked.double().mean())
    return StepTerms(totals, weights, monitors)
