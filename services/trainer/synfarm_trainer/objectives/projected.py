"""A backbone with a projector on its class token: the network of the contrastive objectives without a teacher."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from synfarm_trainer.config import ContrastiveConfig, TrainConfig
from synfarm_trainer.models.batch_norm import Among
from synfarm_trainer.models.heads import mlp_head
from synfarm_trainer.models.vit import build_vit, init_parameters, normalise
from synfarm_trainer.objectives.batch import TensorBatch

__all__ = ["ProjectedStudent", "build_student"]


class ProjectedStudent(nn.Module):
    def __init__(self, config: TrainConfig, head: ContrastiveConfig) -> None:
        super().__init__()
        self.backbone = build_vit(config.model, config.augment.size)
        self.projector = mlp_head(
            config.model.width,
            head.head_hidden,
            head.head_out,
            hidden_layers=2,
            norm=head.head_norm,
            by_view=head.batch_norm_over == "views",
            last_norm=False,
        )

    def embed(self, part: TensorBatch, among: Among | None = None) -> Tensor:
        """(m, out) unit vectors of the part's m global crops."""
        tokens = self.backbone.tokens(normalise(part.pixels, self.backbone.dtype), kept=part.kept)
        return functional.normalize(self.projector(tokens[:, 0], among), dim=-1)


def build_student(config: TrainConfig, head: ContrastiveConfig, seed: int) -> ProjectedStudent:
    """With the weights that the run's seed gives."""
    student = ProjectedStudent(config, head)
    init_parameters(student, seed, config.model.init_std)
    return student
