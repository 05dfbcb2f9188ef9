"""AdamW with its two groups, and its moments as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import AdamW

from synfarm_trainer.config import OptimConfig

__all__ = ["build_optimizer", "load_moments", "moments", "set_hyperparameters"]

_SLOTS = ("exp_avg", "exp_avg_sq", "step")


def build_optimizer(module: nn.Module, config: OptimConfig) -> AdamW:
    """Tensors of fewer than two dimensions and biases are not decayed (method section 3.8, rule of the release).

    What takes no gradient when the optimiser is built is none of its business: it would be decayed to nothing.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        (plain if parameter.ndim < 2 or name.endswith("bias") else decayed).append(parameter)
    groups = [{"params": decayed, "decays": True}, {"params": plain, "decays": False, "weight_decay": 0.0}]
    return AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, foreach=True)


def set_hyperparameters(optimizer: AdamW, *, lr: float, weight_decay: float) -> None:
    """The step's values; the group without decay stays without, the other follows even a schedule that starts at 0."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        if group["decays"]:
            group["weight_decay"] = weight_decay


def moments(module: nn.Module, optimizer: AdamW) -> dict[str, Tensor]:
    """``<slot>.<parameter name>`` for every parameter that has been stepped."""
    return {
        f"{slot}.{name}": optimizer.state[parameter][slot].detach().contiguous()
        for name, parameter in module.named_parameters()
        if parameter in optimizer.state
        for slot in _SLOTS
    }


def load_moments(module: nn.Module, optimizer: AdamW, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`moments`. A parameter of which there are none had not been stepped.

    Raises:
        KeyError: a part of a parameter's moments is missing.
    """
    for name, parameter in module.named_parameters():
        if any(f"{slot}.{name}" in tensors for slot in _SLOTS):
            optimizer.state[parameter] = {slot: tensors[f"{slot}.{name}"].clone() for slot in _SLOTS}
