"""What the teacher says of class tokens, and what the student makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from synfarm_trainer.config import PrototypeConfig
from synfarm_trainer.losses.dino import dino_loss
from synfarm_trainer.losses.masked_patches import entropy
from synfarm_trainer.losses.sinkhorn import assignment
from synfarm_trainer.models.heads import PatchHead
from synfarm_trainer.objectives.distilled.masses import target_masses
from synfarm_trainer.objectives.monitors import named, use, watched
from synfarm_trainer.ranks import Ranks

__all__ = ["ClassLesson"]


class ClassLesson:
    """Targets of the class tokens of a rank's share, made a micro-batch at a time."""

    @torch.no_grad()
    def __init__(
        self,
        head: PatchHead,
        tokens: Sequence[Tensor],
        center: Tensor | None,
        config: PrototypeConfig,
        temperature: float,
        ranks: Ranks,
    ) -> None:
        """
        Args:
            head: the teacher's.
            tokens: of each micro-batch (m, width), the teacher's class tokens of its global crops.
            center: is moved for the next batch; None for Sinkhorn and Knopp.
            temperature: of the teacher.
        """
        self._config, self._temperature = config, temperature
        self._compared = head.compared()
        self._embedded = [head.embed(part) for part in tokens]
        whole = torch.cat(self._embedded)
        self._masses = target_masses(whole, self._compared, center, config, temperature, ranks)
        self._ranks, self._keys = ranks, functional.normalize(torch.cat(list(tokens)), dim=-1)
        self._winners: list[Tensor] = []
        self._rows, self._entropy = len(whole), 0.0
        self._share = torch.zeros_like(self._masses)

    def losses(self, place: int, whole: Tensor, local: Tensor | None, crops: int) -> Tensor:
        """(m / crops,) losses of the images of micro-batch ``place``.

        Args:
            whole: (m, K) logits of the student's m global crops, those of an image adjacent.
            local: (l, K) of its local crops, likewise.
            crops: global crops of an image.
        """
        with torch.no_grad():
            seen = functional.linear(self._embedded[place], self._compared)
            targets = assignment(seen, self._temperature, self._masses)
            self._entropy += float(entropy(targets).sum())
            self._share += targets.sum(dim=0)
            self._winners.append(targets.argmax(dim=1))
        images = len(whole) // crops
        by_crop = [_by_crop(logits, images) for logits in (whole, local) if logits is not None]
        return dino_loss(torch.cat(by_crop), _by_crop(targets, images), self._config.student_temperature)

    def monitors(self, crops: int) -> dict[str, float]:
        """Once all losses were asked for; the entropy is of this rank's share, the rest of the global batch.

        Args:
            crops: global crops of an image, which are positives.
        """
        keys = self._ranks.gather(self._keys)
        share = self._ranks.gather(self._share[None]).sum(dim=0)
        winners = self._ranks.gather(torch.cat(self._winners))
        return {
            **watched(keys, torch.arange(len(keys), device=keys.device) // crops),
            "target_entropy": self._entropy / (self._rows * math.log(len(share))),
            "prototype_use": use(share / len(keys)),
            "prototypes_named": named(winners, len(share)),
            "teacher_temperature": self._temperature,
        }


def _by_crop(rows: Tensor, images: int) -> Tensor:
    """(images * c, K), crops of an image adjacent, to (c, images, K)."""
    return rows.reshape(images, -1, rows.shape[1]).transpose(0, 1)
