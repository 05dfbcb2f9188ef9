"""What the training loop knows of an objective: its networks, and one gradient of the global batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor, nn

from synfarm_trainer.models.vit import Backbone
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

__all__ = ["Objective", "StepTerms", "evaluated_network"]


@dataclass(frozen=True, slots=True)
class StepTerms:
    """The loss of a step by its terms, and what is watched beside it."""

    losses: dict[str, Tensor]
    """This rank's share of each term, unweighted; the shares of all ranks add up to the term."""
    weights: dict[str, float]
    """Of each term in the total."""
    monitors: dict[str, float] = field(default_factory=dict)
    """This rank's view; their mean over ranks is what is told."""


class Objective(Protocol):
    """Heads, loss and step of one method. What is random was drawn before: masks and dropped branches are data."""

    @property
    def student(self) -> nn.Module:
        """What the optimiser moves: the parameters that take a gradient. Its buffers are part of a checkpoint."""

    @property
    def teacher(self) -> nn.Module | None:
        """Its moving average, of a subset of its parameters under the same names; None where there is none.

        Buffers are its own: a step may move them, the same way on every rank, and they are part of a checkpoint.
        """

    @property
    def backbone(self) -> Backbone:
        """The network that is evaluated and exported: the teacher's where there is one."""

    def accumulate_gradients(
        self,
        batch: TensorBatch,
        ranks: Ranks,
        *,
        step: int,
        micro_crops: int,
        separate: TermGradients | None = None,
    ) -> StepTerms:
        """Add this rank's part of the gradient of the *global* loss to the student's ``grad``.

        The sum over ranks is the whole, the same at any number of ranks and for any ``micro_crops``.

        Args:
            batch: of the same size on every rank, whole captions.
            step: number of finished steps, for schedules.
            micro_crops: global crops in one pass of a network, whole captions.
            separate: takes each term's gradient too, if there are several terms; the student's ``grad`` is the same.

        Raises:
            ValueError: the batch does not suit the objective; the message names the field.
        """

    def after_step(self) -> None:
        """Bring parameters that have bounds back into them, when the optimiser has moved them."""


def evaluated_network(objective: Objective) -> Literal["student", "teacher"]:
    """Whose the backbone is that is evaluated and exported."""
    return "student" if objective.teacher is None else "teacher"
