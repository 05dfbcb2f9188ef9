"""The trainer's own step without its loader and its records: what the loop does between a batch and the next one."""

from __future__ import annotations

import math

from step_setting import LR, Setting
from torch import Tensor, nn

from synfarm_trainer import ema
from synfarm_trainer.autocast import compute_in_bfloat16
from synfarm_trainer.models.block_passes import BlockPasses
from synfarm_trainer.models.vit import run_blocks
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.optim import build_optimizer, set_hyperparameters
from synfarm_trainer.ranks import Ranks

__all__ = ["OurStep"]


class OurStep:
    name = "synfarm"

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._objective = build_objective(setting.config, 0, concepts=2)
        self.student: nn.Module = self._objective.student.to(setting.device)
        assert self._objective.teacher is not None
        self.teacher: nn.Module = self._objective.teacher.to(setting.device)
        if setting.on_gpu:
            for network in (self.student, self.teacher):
                compute_in_bfloat16(network, setting.device)
        execution = setting.config.execution
        self.passes = BlockPasses(
            recompute=execution.recompute == "blocks", backend="inductor" if execution.compile == "blocks" else None
        )
        run_blocks(self.passes, self.student, self.teacher)
        self._optimizer = build_optimizer(self.student, setting.config.optim)

    def step(self, batch: TensorBatch) -> dict[str, Tensor]:
        config, ranks = self._setting.config, Ranks()
        micro = (config.execution.micro_captions or len(batch)) * config.crops_of_caption
        set_hyperparameters(self._optimizer, lr=LR, weight_decay=config.optim.weight_decay)
        terms = self._objective.accumulate_gradients(batch, ranks, step=0, micro_crops=micro)
        parameters = [p for p in self.student.parameters() if p.requires_grad]
        norm = float(ranks.sum_gradients(parameters).norm())
        if not math.isfinite(norm):
            raise RuntimeError(f"the gradient's norm is {norm}")
        if norm > config.optim.clip_norm:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(config.optim.clip_norm / norm)
        self._optimizer.step()
        self._objective.after_step()
        self._optimizer.zero_grad(set_to_none=True)
        ema.update(self.teacher, self.student, self._setting.momentum)
        return terms.losses
