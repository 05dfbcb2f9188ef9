"""What the teacher says of the patches that the student does not see, and what the student makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from synfarm_trainer.config import MaskedPrototypeConfig
from synfarm_trainer.losses.masked_patches import image_means
from synfarm_trainer.losses.patch_pieces import PatchSide, masked_patch_loss_in_pieces
from synfarm_trainer.models.heads import PatchHead
from synfarm_trainer.objectives.distilled.masses import target_masses
from synfarm_trainer.objectives.monitors import spread
from synfarm_trainer.ranks import Ranks

__all__ = ["PatchLesson"]


class PatchLesson:
    """Targets of the masked patches of a rank's share; they never exist at once."""

    @torch.no_grad()
    def __init__(
        self,
        head: PatchHead,
        tokens: Sequence[Tensor],
        center: Tensor | None,
        config: MaskedPrototypeConfig,
        temperature: float,
        ranks: Ranks,
    ) -> None:
        """
        Args:
            head: the teacher's.
            tokens: of each micro-batch (t, width), the teacher's at the masked places, crop by crop; t may be 0.
            center: is moved for the next batch; None for Sinkhorn and Knopp.
            temperature: of the teacher.
        """
        self._config, self._temperature = config, temperature
        self._compared = head.compared()
        self._embedded = [head.embed(part) for part in tokens]
        whole = torch.cat(self._embedded)
        self._masses = target_masses(whole, self._compared, center, config, temperature, ranks)
        self._spread = spread(functional.normalize(torch.cat(list(tokens)), dim=-1)) if len(whole) else 0.0
        self._rows, self._entropy = len(whole), 0.0

    def losses(self, place: int, head: PatchHead, tokens: Tensor, masks: Tensor) -> Tensor:
        """(m,) means over the masked patches of each global crop of micro-batch ``place``; 0 of one without.

        Args:
            head: the student's.
            tokens: (t, width) of the student at the masked places.
            masks: (m, patches) bool, t of them true.
        """
        mine = PatchSide(head.embed(tokens), head.compared(), self._config.student_temperature)
        seen = PatchSide(self._embedded[place], self._compared, self._temperature)
        losses, entropies = masked_patch_loss_in_pieces(mine, seen, self._masses)
        self._entropy += float(entropies.sum())
        return image_means(losses, masks)

    def monitors(self) -> dict[str, float]:
        """Of this rank's share, once all its losses were asked for."""
        most = max(1, self._rows) * math.log(len(self._masses))
        return {"patch_spread": self._spread, "patch_target_entropy": self._entropy / most}
