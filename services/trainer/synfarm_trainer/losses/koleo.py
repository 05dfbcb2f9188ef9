"""KoLeo: spread features over the sphere (Sablayrolles et al. 2019, section 3.3; used by DINOv2 with weight 0.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from synfarm_trainer.losses.precision import exact_products, precise

__all__ = ["koleo_loss"]

_EPS = 1e-8


def koleo_loss(features: Tensor) -> Tensor:
    """-log of the distance to the nearest other one, after normalisation: (n, D) to (n,), in at least float32.

    The gradient goes to a feature and to its neighbour; which one is nearest takes none. Two that are equal give a
    finite loss and no gradient.

    Args:
        features: class tokens of one group of images, one view each: two views of an image would only repel.

    Raises:
        ValueError: fewer than two features.
    """
    if len(features) < 2:
        raise ValueError("one feature has no nearest other: the group needs at least two images")
    unit = functional.normalize(precise(features), dim=1, eps=_EPS)
    with torch.no_grad(), exact_products(unit):
        nearest = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(dim=1)
    distance: Tensor = torch.linalg.vector_norm(unit - unit[nearest], dim=1)
    return (distance + _EPS).log().neg()
