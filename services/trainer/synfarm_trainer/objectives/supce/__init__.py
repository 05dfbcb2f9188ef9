"""Supervised cross-entropy with the concept as the class (method section 4.1): the baseline of the paper's table 5."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from synfarm_trainer.config import SupceConfig, TrainConfig
from synfarm_trainer.models.vit import build_vit, init_parameters, normalise
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.monitors import watched
from synfarm_trainer.objectives.protocol import Objective, StepTerms
from synfarm_trainer.objectives.student_only import StudentOnly
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

__all__ = ["build_supce"]


class Classifier(nn.Module):
    """(n, 3, H, W) to (n, classes): a linear layer on the class token."""

    def __init__(self, config: TrainConfig, classes: int) -> None:
        super().__init__()
        self.backbone = build_vit(config.model, config.augment.size)
        self.classifier = nn.Linear(config.model.width, classes)

    def forward(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        found: Tensor = self.classifier(self.embed(images, kept))
        return found

    def embed(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """(n, 3, H, W) to (n, width) class tokens."""
        return self.backbone.tokens(images, kept=kept)[:, 0]


class Supce(StudentOnly[Classifier]):
    """Crops do not meet each other, so micro-batches add up by themselves."""

    def __init__(self, config: SupceConfig, student: Classifier) -> None:
        super().__init__(student)
        self._config = config

    def accumulate_gradients(
        self,
        batch: TensorBatch,
        ranks: Ranks,
        *,
        step: int,
        micro_crops: int,
        separate: TermGradients | None = None,
    ) -> StepTerms:
        crops = len(batch) * ranks.world
        total, right = torch.zeros((), dtype=torch.float64), 0
        classes = []
        parts = batch.parts(micro_crops)
        for place, part in enumerate(parts):
            assert part.concepts is not None
            tokens = self.student.embed(normalise(part.pixels, self.student.backbone.dtype), part.kept)
            classes.append(functional.normalize(tokens.detach(), dim=-1))
            logits = self.student.classifier(tokens)
            precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
            smoothing = self._config.label_smoothing
            loss = functional.cross_entropy(precise, part.concepts, label_smoothing=smoothing, reduction="sum") / crops
            ranks.backward([loss], last=place == len(parts) - 1)
            total = total + loss.detach().double()
            right += int((logits.detach().argmax(dim=1) == part.concepts).sum())
        assert batch.concepts is not None
        monitors = watched(ranks.gather(torch.cat(classes)), ranks.gather(batch.concepts), "class")
        monitors["accuracy"] = right / len(batch)
        return StepTerms({"cross_entropy": total}, {"cross_entropy": 1.0}, monitors)


def build_supce(config: TrainConfig, seed: int, concepts: int) -> Objective:
    """
    Raises:
        ValueError: fewer than two concepts.
    """
    assert isinstance(config.objective, SupceConfig)
    if concepts < 2:
        raise ValueError(f"objective.name: supce tells concepts apart, the dataset has {concepts}; use at least 2")
    student = Classifier(config, concepts)
    init_parameters(student, seed, config.model.init_std)
    return Supce(config.objective, student)
