"""A run's progress under the names that Kubeflow gives it: ``status.trainerStatus`` of a TrainJob (KEP-2779).

Names are theirs, letter for letter, so that what reads a TrainJob reads a run of synfarm too.
"""

from __future__ import annotations

from pydantic import Field

from synfarm.contracts.base import Contract, Moment

__all__ = ["TrainerMetric", "TrainerReport", "TrainerStatus"]


class TrainerMetric(Contract):
    name: str = Field(min_length=1)
    value: str = Field(min_length=1)
    """A number as text: theirs are texts too."""


class TrainerStatus(Contract):
    """Fields that are not known are left out as theirs are: None."""

    progressPercentage: int | None = Field(default=None, ge=0, le=100)
    """Whole percent of the steps; 100 only when all are taken."""
    estimatedRemainingSeconds: int | None = Field(default=None, ge=0)
    metrics: tuple[TrainerMetric, ...] = ()
    """``loss`` (the weighted total), ``loss.<term>``, ``currentStep``, ``totalSteps``, ``currentEpoch``,
    ``imagesPerSecond``, and ``eval.<name>`` (top-1) of the newest evaluation of each name."""
    lastUpdatedTime: Moment
    """When these numbers were observed."""


class TrainerReport(Contract):
    """What is posted: the body that a TrainJob's status endpoint takes."""

    trainerStatus: TrainerStatus
