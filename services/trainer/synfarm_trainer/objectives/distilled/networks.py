"""Student and teacher of self-distillation: a backbone and a head of prototypes, the teacher's with its centers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synfarm_trainer import ema
from synfarm_trainer.config import MaskedPrototypeConfig, PrototypeConfig, TrainConfig
from synfarm_trainer.models.crops_pass import Crops
from synfarm_trainer.models.heads import PatchHead
from synfarm_trainer.models.places import chosen_patches
from synfarm_trainer.models.vit import build_vit, init_parameters, normalise
from synfarm_trainer.objectives.batch import TensorBatch

__all__ = ["DistilledStudent", "DistilledTeacher", "build_networks"]


class _Shared(nn.Module):
    def __init__(self, config: TrainConfig, section: PrototypeConfig) -> None:
        super().__init__()
        self.backbone = build_vit(config.model, config.augment.size)
        self.class_head = _head(config, section)
        separate = isinstance(section, MaskedPrototypeConfig) and section.separate_heads
        self.own_patch_head = _head(config, section) if separate else None

    @property
    def patch_head(self) -> PatchHead:
        """That of class tokens, unless patches have their own."""
        return self.own_patch_head or self.class_head


class DistilledTeacher(_Shared):
    def __init__(self, config: TrainConfig, section: PrototypeConfig) -> None:
        super().__init__(config, section)
        centered = section.targets == "centering"
        self.class_center: Tensor | None
        self.register_buffer("class_center", torch.zeros(section.prototypes) if centered else None)
        self.patch_center: Tensor | None
        masked = centered and section.uses_masks
        self.register_buffer("patch_center", torch.zeros(section.prototypes) if masked else None)

    def forward(self, part: TensorBatch) -> tuple[Tensor, Tensor | None]:
        """(m, width) class tokens of the part's m global crops, seen whole; (t, width) what the student will not see.

        Copies: as views they would keep all tokens of all micro-batches.
        """
        tokens = self.backbone.tokens(normalise(part.pixels, self.backbone.dtype))
        return tokens[:, 0].clone(), None if (places := part.places) is None else chosen_patches(tokens, places)


class DistilledStudent(_Shared):
    def __init__(self, config: TrainConfig, section: PrototypeConfig) -> None:
        super().__init__(config, section)
        self.mask_token = nn.Parameter(torch.empty(1, config.model.width)) if section.uses_masks else None

    def forward(self, part: TensorBatch) -> tuple[Tensor, Tensor | None]:
        """(m, 1 + patches, width) of the part's m global crops, and (l, width) class tokens of its local ones, if any.

        One pass serves both terms: the class token of a crop with masks is that of its masked form.
        """
        dtype = self.backbone.dtype
        crops = [Crops(normalise(part.pixels, dtype), part.masks, part.kept)]
        if part.local_pixels is not None:
            crops.append(Crops(normalise(part.local_pixels, dtype), kept=part.local_kept))
        tokens, *local = self.backbone.tokens_of(crops, self.mask_token)
        return tokens, local[0][:, 0] if local else None

    def let_prototypes_move(self, move: bool) -> None:
        for head in (self.class_head, self.patch_head):
            head.let_last_layer_move(move)


def _head(config: TrainConfig, section: PrototypeConfig) -> PatchHead:
    return PatchHead(
        config.model.width,
        section.prototype_hidden,
        section.prototype_bottleneck,
        section.prototypes,
        train_gain=section.train_gain,
    )


def build_networks(
    config: TrainConfig, section: PrototypeConfig, seed: int
) -> tuple[DistilledStudent, DistilledTeacher]:
    """Both as they are before the first step, a pure function of configuration and seed."""
    student, teacher = DistilledStudent(config, section), DistilledTeacher(config, section)
    init_parameters(student, seed, config.model.init_std)
    ema.copy_into(teacher, student)
    return student, teacher
