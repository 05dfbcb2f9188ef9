"""Student and teacher: the teacher has the student's parts under the same names, less predictor and mask token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synfarm_trainer import ema
from synfarm_trainer.config import SynclrConfig, TrainConfig
from synfarm_trainer.models.batch_norm import Among
from synfarm_trainer.models.crops_pass import Crops
from synfarm_trainer.models.heads import MlpHead, PatchHead, mlp_head
from synfarm_trainer.models.places import chosen_patches
from synfarm_trainer.models.vit import build_vit, init_parameters

__all__ = ["Networks", "Student", "Teacher", "build_networks"]


def _section(config: TrainConfig) -> SynclrConfig:
    assert isinstance(config.objective, SynclrConfig)
    return config.objective


def _head(section: SynclrConfig, width: int, hidden_layers: int) -> MlpHead:
    by_view = section.batch_norm_over == "views"
    sizes = width, section.head_hidden, section.head_out
    return mlp_head(*sizes, hidden_layers=hidden_layers, norm=section.head_norm, by_view=by_view)


class _Shared(nn.Module):
    """Backbone, projector and, with iBOT, patch head."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        head, width = _section(config), config.model.width
        self.backbone = build_vit(config.model, config.augment.size)
        self.projector = _head(head, width, hidden_layers=2)
        if config.uses_masks:
            sizes = width, head.patch_hidden, head.patch_bottleneck, head.prototypes
            self.patch_head = PatchHead(*sizes, train_gain=head.train_gain)


class Teacher(_Shared):
    def forward(
        self, images: Tensor, places: Tensor | None, among: Among | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Keys (n, out), normalised; and the patch tokens (t, width) that the student will not see.

        Args:
            images: (n, 3, H, W), seen whole.
            places: (t,) of masked patches, image by image.
        """
        tokens = self.backbone.tokens(images)
        keys = functional.normalize(self.projector(tokens[:, 0], among), dim=-1)
        return keys, None if places is None else chosen_patches(tokens, places)


class Student(_Shared):
    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        head = _section(config)
        self.predictor = _head(head, head.head_out, hidden_layers=1)
        self.mask_token = nn.Parameter(torch.empty(1, config.model.width)) if config.uses_masks else None

    def forward(
        self,
        images: Tensor,
        masks: Tensor | None = None,
        kept: Tensor | None = None,
        among: Among | None = None,
        local: Crops | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Anchors (n, out), normalised, then those of local crops; and what it made of masked patches, (t, width).

        One pass serves both terms: the anchor of a masked image is that of its masked form (method section 3.5).

        Args:
            images: (n, 3, H, W), global or local crops.
            masks: (n, patches) bool: what is hidden.
            kept: (n, depth, 2) bool, for stochastic depth.
            among: whose crops heads with BatchNorm are normalised among, each size apart.
            local: crops of another size, in the same pass of the backbone.
            places: (t,) of masked patches, image by image: what is told of.
        """
        crops = [Crops(images, masks, kept), *(() if local is None else (local,))]
        tokens = self.backbone.tokens_of(crops, self.mask_token)
        anchors = torch.cat([self.predictor(self.projector(each[:, 0], among), among) for each in tokens])
        patches = None if places is None else chosen_patches(tokens[0], places)
        return functional.normalize(anchors, dim=-1), patches


@dataclass(frozen=True, slots=True)
class Networks:
    student: Student
    teacher: Teacher


def build_networks(config: TrainConfig, seed: int) -> Networks:
    """Both networks as they are before the first step, a pure function of configuration and seed."""
    student, teacher = Student(config), Teacher(config)
    init_parameters(student, seed, config.model.init_std)
    ema.copy_into(teacher, student)
    return Networks(student, teacher)
