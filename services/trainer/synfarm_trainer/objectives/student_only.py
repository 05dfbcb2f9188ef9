"""The parts that objectives without a teacher have in common."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from torch import nn

from synfarm_trainer.models.vit import Backbone

__all__ = ["StudentOnly"]


class _WithBackbone(Protocol):
    backbone: Backbone


S = TypeVar("S", bound=nn.Module)


class StudentOnly(Generic[S]):
    """Its own student is what is evaluated and exported."""

    def __init__(self, student: S) -> None:
        self.student = student

    @property
    def teacher(self) -> None:
        return None

    @property
    def backbone(self) -> Backbone:
        found = self.student.backbone
        assert isinstance(found, Backbone)
        return found

    def after_step(self) -> None:
        """No parameter has bounds."""
