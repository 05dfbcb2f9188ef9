"""What `synfarm eval` measured: scores of frozen networks on labelled sets, with the paper's beside them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from synfarm.contracts.base import Contract

__all__ = ["Probe", "ProbeReport", "ProbeScore"]

Probe = Literal["knn", "logistic", "sgd"]


class ProbeScore(Contract):
    """One network on one set by one probe."""

    network: str
    labelled: str
    """The set's name."""
    probe: Probe
    metric: Literal["top1", "mean_per_class", "map11"]
    score: float = Field(ge=0, le=1)
    """On the test images. Of ``sgd`` the best of the grid after the last epoch."""
    train_images: int
    """With those that a penalty is chosen on."""
    test_images: int
    classes: int
    details: dict[str, JsonValue] = Field(default_factory=dict)
    """``penalty`` and ``validation`` of logistic; ``best``, ``best_rate``, ``best_epoch`` and ``last_rate`` of sgd;
    ``k`` and ``standard_error`` of k-NN."""


class ProbeReport(Contract):
    """Everything that one command measured."""

    schema_version: Literal[1] = 1
    scores: tuple[ProbeScore, ...]
    paper: dict[str, dict[str, float]] = Field(default_factory=dict)
    """By model and set, in percent (tables 6 and 9); of the sets that were measured."""
