"""Student and teacher of self-distillation: a backbone and a head of prototypes, the teacher's with its centers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synfarm_trainer import ema
from synfarm_trainer.config import PrototypeConfig, TrainConfig
from synfarm_trainer.models.heads import PatchHead
from synfarm_trainer.models.vit import build_vit, init_parameters, normalise
from synfarm_trainer.objectives.batch import TensorBatch

__all__ = ["DistilledStudent", "DistilledTeacher", "build_networks"]


class _Shared(nn.Module):
    def __init__(self, config: TrainConfig, section: PrototypeConfig) -> None:
        super().__init__()
        self.backbone = build_vit(config.model, config.augment.size)
        self.class_head = PatchHead(
            config.model.width,
            section.prototype_hidden,
            section.prototype_bottleneck,
            section.prototypes,
            train_gain=section.train_gain,
        )


class DistilledTeacher(_Shared):
    def __init__(self, config: TrainConfig, section: PrototypeConfig) -> None:
        super().__init__(config, section)
        centered = section.targets == "centering"
        self.class_center: Tensor | None
        self.register_buffer("class_center", torch.zeros(section.prototypes) if centered else None)

    def forward(self, part: TensorBatch) -> Tensor:
        """(m, 1 + patches, width): class token and patches of the part's m global crops, seen whole."""
        return self.backbone.tokens(normalise(part.pixels, self.backbone.dtype))


class DistilledStudent(_Shared):
    def forward(self, part: TensorBatch) -> tuple[Tensor, Tensor | None]:
        """As the teacher's for the part's m global crops; and (l, width) class tokens of its local ones, if any."""
        dtype = self.backbone.dtype
        tokens = self.backbone.tokens(normalise(part.pixels, dtype), kept=part.kept)
        if part.local_pixels is None:
            return tokens, None
        return tokens, self.backbone.tokens(normalise(part.local_pixels, dtype), kept=part.local_kept)[:, 0]

    def let_prototypes_move(self, move: bool) -> None:
        self.class_head.prototypes.requires_grad_(move)


def build_networks(
    config: TrainConfig, section: PrototypeConfig, seed: int
) -> tuple[DistilledStudent, DistilledTeacher]:
    """Both as they are before the first step, a pure function of configuration and seed."""
    student, teacher = DistilledStudent(config, section), DistilledTeacher(config, section)
    init_parameters(student, seed, config.model.init_std)
    ema.copy_into(teacher, student)
    return student, teacher
