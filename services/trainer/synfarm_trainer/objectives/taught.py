"""The parts that objectives with a moving average as the teacher have in common."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import nn

from synfarm_trainer.models.vit import Backbone

__all__ = ["Taught"]

S = TypeVar("S", bound=nn.Module)
T = TypeVar("T", bound=nn.Module)


class Taught(Generic[S, T]):
    """Its teacher's backbone is what is evaluated and exported."""

    def __init__(self, student: S, teacher: T) -> None:
        self.student, self.teacher = student, teacher

    @property
    def backbone(self) -> Backbone:
        found = self.teacher.backbone
        assert isinstance(found, Backbone)
        return found

    def after_step(self) -> None:
        """No parameter has bounds."""
