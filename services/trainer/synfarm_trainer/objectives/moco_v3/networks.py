"""Student and teacher: backbone and projector, the student's with a predictor. Heads have LayerNorm, not BatchNorm."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from synfarm_trainer import ema
from synfarm_trainer.config import MocoV3Config, TrainConfig
from synfarm_trainer.models.heads import mlp_head
from synfarm_trainer.models.vit import build_vit, init_parameters, normalise
from synfarm_trainer.objectives.batch import TensorBatch

__all__ = ["MocoStudent", "MocoTeacher", "build_networks"]


class MocoTeacher(nn.Module):
    def __init__(self, config: TrainConfig, section: MocoV3Config) -> None:
        super().__init__()
        self.backbone = build_vit(config.model, config.augment.size)
        self.projector = mlp_head(config.model.width, section.head_hidden, section.head_out, hidden_layers=2)

    def forward(self, part: TensorBatch) -> Tensor:
        """(m, out) keys of the part's m crops, normalised."""
        tokens = self.backbone.tokens(normalise(part.pixels, self.backbone.dtype))
        return functional.normalize(self.projector(tokens[:, 0]), dim=-1)


class MocoStudent(nn.Module):
    def __init__(self, config: TrainConfig, section: MocoV3Config) -> None:
        super().__init__()
        self.backbone = build_vit(config.model, config.augment.size)
        self.projector = mlp_head(config.model.width, section.head_hidden, section.head_out, hidden_layers=2)
        self.predictor = mlp_head(section.head_out, section.head_hidden, section.head_out, hidden_layers=1)
        if section.freeze_patches:
            self.backbone.patch_embed.proj.requires_grad_(False)

    def forward(self, part: TensorBatch) -> Tensor:
        """(m, out) predictions of the part's m crops, normalised."""
        tokens = self.backbone.tokens(normalise(part.pixels, self.backbone.dtype), kept=part.kept)
        return functional.normalize(self.predictor(self.projector(tokens[:, 0])), dim=-1)


def build_networks(config: TrainConfig, section: MocoV3Config, seed: int) -> tuple[MocoStudent, MocoTeacher]:
    """Both as they are before the first step, a pure function of configuration and seed."""
    student, teacher = MocoStudent(config, section), MocoTeacher(config, section)
    init_parameters(student, seed, config.model.init_std)
    ema.copy_into(teacher, student)
    return student, teacher
