"""What a run begins with in place of the weights that its seed gives: another run's, a file's, timm's."""

from __future__ import annotations

from typing import Any

from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger
from synfarm_trainer import ema
from synfarm_trainer.config import parse_initial
from synfarm_trainer.initial.fitting import fit
from synfarm_trainer.initial.reading import read_weights
from synfarm_trainer.models.vit import Backbone
from synfarm_trainer.objectives.protocol import Objective
from synfarm_trainer.ranks import Ranks

__all__ = ["begin_from"]

_log = get_logger(__name__)


def begin_from(text: str, objective: Objective, store: ObjectStore, ranks: Ranks) -> dict[str, Any] | None:
    """Load the weights that ``text`` names into the student's backbone, and so into the teacher's.

    The first rank reads them, the others take its: all begin with the same. Call before the first step only.

    Returns:
        what fits and what does not, as JSON values; None on other ranks, and where the seed's weights stay.

    Raises:
        ValueError: there are no such weights, or nothing of them fits; the message has field and cure.
        StoreError, ConnectionError: they cannot be read now.
    """
    initial = parse_initial(text)
    if initial is None:
        return None
    backbone = objective.student.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    told: dict[str, Any] | None = None
    if ranks.is_first:
        weights = read_weights(initial, store)
        told = {"from": text, "sha256": weights.sha256, **fit(backbone, weights.tensors, text)}
        _log.info("begun_from", **told)
    for tensor in backbone.state_dict().values():
        ranks.broadcast(tensor)
    if objective.teacher is not None:
        ema.copy_into(objective.teacher, objective.student)
    return told
