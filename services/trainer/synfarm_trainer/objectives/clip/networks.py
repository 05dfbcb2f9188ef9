"""A tower for images, a tower for texts, and the scale of their cosines."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from synfarm_trainer.config import ClipConfig, TrainConfig
from synfarm_trainer.data.texts import END, VOCABULARY
from synfarm_trainer.losses.clip import LOG_SCALE_START
from synfarm_trainer.models.text import TextTower
from synfarm_trainer.models.vit import build_vit, init_parameters, normalise
from synfarm_trainer.objectives.batch import TensorBatch

__all__ = ["ClipStudent", "initialise"]


class ClipStudent(nn.Module):
    def __init__(self, config: TrainConfig, section: ClipConfig) -> None:
        super().__init__()
        width, heads = section.text_size(config.model)
        self.backbone = build_vit(config.model, config.augment.size)
        self.text = TextTower(width, section.text_depth, heads, context=section.context, vocabulary=VOCABULARY, end=END)
        self.image_projection = nn.Linear(config.model.width, section.joint_width, bias=False)
        self.text_projection = nn.Linear(width, section.joint_width, bias=False)
        self.log_scale = nn.Parameter(torch.empty(()))

    def embed_images(self, part: TensorBatch) -> Tensor:
        """(m, joint) unit vectors of the part's m crops."""
        tokens = self.backbone.tokens(normalise(part.pixels, self.backbone.dtype), kept=part.kept)
        return functional.normalize(self.image_projection(tokens[:, 0]), dim=-1)

    def embed_texts(self, part: TensorBatch) -> Tensor:
        """(captions, joint) unit vectors of the part's captions."""
        assert part.texts is not None
        return functional.normalize(self.text_projection(self.text(part.texts)), dim=-1)


@torch.no_grad()
def initialise(student: ClipStudent, seed: int, linear_std: float) -> None:
    """The weights that the run's seed gives, those outside of the backbone of the release's sizes."""
    init_parameters(student, seed, linear_std)
    student.text.scale_weights(linear_std)
    for projection in (student.image_projection, student.text_projection):
        projection.weight.mul_(projection.in_features**-0.5 / linear_std)
    student.log_scale.fill_(LOG_SCALE_START)
