"""How a teacher's logits become targets, once for the global batch.

Both ways have one form: targets = softmax(logits / temperature - masses), with a number for each prototype. So targets
of a micro-batch can be made when it comes, and those of the whole batch never exist at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.config import PrototypeConfig
from synfarm_trainer.losses.centering import next_center
from synfarm_trainer.losses.patch_pieces import logit_parts
from synfarm_trainer.losses.precision import exact_products, precise
from synfarm_trainer.losses.sinkhorn import prototype_masses
from synfarm_trainer.ranks import Ranks

__all__ = ["target_masses"]


@torch.no_grad()
def target_masses(
    embedded: Tensor, compared: Tensor, center: Tensor | None, config: PrototypeConfig, temperature: float, ranks: Ranks
) -> Tensor:
    """(K,) of at least float32.

    Args:
        embedded: (T, D) of this rank's tokens behind the teacher's bottleneck; there may be none.
        compared: (K, D) what they are compared with.
        center: (K,) as earlier batches left it, for targets by centering; this batch moves it for the next one. None
            for targets by Sinkhorn and Knopp, over the tokens of all ranks.
    """
    if center is None:
        return prototype_masses(logit_parts(embedded, compared), temperature, config.sinkhorn_rounds, ranks.gather)
    masses = precise(center) / temperature
    # The mean of logits is the logit of the mean: ranks exchange D numbers, and tokens x prototypes are never made.
    rows = precise(embedded)
    total = ranks.gather(torch.cat([rows.sum(dim=0), rows.new_tensor([float(len(rows))])])[None]).sum(dim=0)
    if float(total[-1]) > 0:
        with exact_products(rows):
            mean = (total[:-1] / total[-1])[None] @ compared.to(rows.dtype).T
        center.copy_(next_center(mean, center, config.center_momentum))
    return masses
