"""Student and teacher: backbone and projector, the student's with a predictor."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from synfarm_trainer import ema
from synfarm_trainer.config import MocoV3Config, TrainConfig
from synfarm_trainer.models.batch_norm import Among
from synfarm_trainer.models.heads import MlpHead, mlp_head
from synfarm_trainer.models.vit import build_vit, init_parameters, normalise
from synfarm_trainer.objectives.batch import TensorBatch

__all__ = ["MocoStudent", "MocoTeacher", "build_networks"]


class MocoTeacher(nn.Module):
    def __init__(self, config: TrainConfig, section: MocoV3Config) -> None:
        super().__init__()
        self.backbone = build_vit(config.model, config.augment.size)
        self.projector = _head(section, config.model.width, hidden_layers=2)

    def forward(self, part: TensorBatch, among: Among | None = None) -> Tensor:
        """(m, out) keys of the part's m crops, normalised."""
        tokens = self.backbone.tokens(normalise(part.pixels, self.backbone.dtype))
        return functional.normalize(self.projector(tokens[:, 0], among), dim=-1)


class MocoStudent(nn.Module):
    def __init__(self, config: TrainConfig, section: MocoV3Config) -> None:
        super().__init__()
        self.backbone = build_vit(config.model, config.augment.size)
        self.projector = _head(section, config.model.width, hidden_layers=2)
        self.predictor = _head(section, section.head_out, hidden_layers=1)
        if section.freeze_patches:
            self.backbone.patch_embed.proj.requires_grad_(False)

    def forward(self, part: TensorBatch, among: Among | None = None) -> Tensor:
        """(m, out) predictions of the part's m crops, normalised."""
        tokens = self.backbone.tokens(normalise(part.pixels, self.backbone.dtype), kept=part.kept)
        return functional.normalize(self.predictor(self.projector(tokens[:, 0], among), among), dim=-1)


def _head(section: MocoV3Config, width: int, hidden_layers: int) -> MlpHead:
    by_view = section.batch_norm_over == "views"
    sizes = width, section.head_hidden, section.head_out
    return mlp_head(*sizes, hidden_layers=hidden_layers, norm=section.head_norm, by_view=by_view)


def build_networks(config: TrainConfig, section: MocoV3Config, seed: int) -> tuple[MocoStudent, MocoTeacher]:
    """Both as they are before the first step, a pure function of configuration and seed."""
    student, teacher = MocoStudent(config, section), MocoTeacher(config, section)
    init_parameters(student, seed, config.model.init_std)
    ema.copy_into(teacher, student)
    return student, teacher
