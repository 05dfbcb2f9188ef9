"""Where a rank computes and in which precision, decided once from the configuration and the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from synfarm_trainer.config import ExecutionConfig
from synfarm_trainer.config.checks import need

__all__ = ["Place", "choose_place", "join_ranks", "prepare_torch"]

_REPRODUCIBLE = (":4096:8", ":16:8")
"""Values of CUBLAS_WORKSPACE_CONFIG with which cuBLAS gives the same bits each time."""
_LONGEST_WAIT = timedelta(minutes=30)
"""Of a rank for the others: the first one evaluates, and waits for a store that is away."""


@dataclass(frozen=True, slots=True)
class Place:
    """One rank's device, and whether its networks compute in bfloat16."""

    device: torch.device
    half: bool


def choose_place(config: ExecutionConfig) -> Place:
    """Of this rank, by LOCAL_RANK.

    Raises:
        ValueError: the machine has no device for it, or cuBLAS cannot be deterministic any more; the message names the
            field.
    """
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.device == "cpu" or (config.device == "auto" and not found):
        return Place(torch.device("cpu"), config.precision == "bfloat16")
    need(found > 0, "execution.device", "cuda is asked for, and torch sees no GPU; use auto or cpu")
    need(
        rank < found,
        "execution.device",
        f"rank {rank} of this machine has no GPU, torch sees {found}; start at most {found} ranks here or use cpu",
    )
    if config.deterministic:
        # The question after bfloat16 begins CUDA, and then it is too late.
        _make_cublas_reproducible()
    able = torch.cuda.is_bf16_supported(including_emulation=False)
    asked = config.precision == "bfloat16"
    need(able or not asked, "execution.precision", "this GPU has no bfloat16; use float32 or auto")
    return Place(torch.device("cuda", rank), asked or (able and config.precision == "auto"))


def prepare_torch(config: ExecutionConfig, place: Place) -> None:
    """Threads, determinism and what float32 means, for this process; before anything is computed on the device.

    float32 means float32, on GPUs too: TF32 keeps ten bits of a product's inputs, and cosines are divided by 0.04.
    On GPUs an operation without a deterministic form (resampling positions backwards) is told in the log and runs:
    bit for bit the same losses are promised on CPUs alone.

    Raises:
        ValueError: determinism is asked for, and cuBLAS cannot give it any more.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(config.threads or max(1, (os.cpu_count() or 1) // local))
    on_gpu = place.device.type == "cuda"
    if on_gpu and config.deterministic:
        _make_cublas_reproducible()
    torch.use_deterministic_algorithms(config.deterministic, warn_only=on_gpu)
    if on_gpu:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.cuda.set_device(place.device)


def _make_cublas_reproducible() -> None:
    """cuBLAS reads the variable when CUDA begins."""
    name = "CUBLAS_WORKSPACE_CONFIG"
    given = os.environ.get(name)
    cure = f"set {name}={_REPRODUCIBLE[0]} before the trainer starts, or execution.deterministic to false"
    need(given is None or given in _REPRODUCIBLE, "execution.deterministic", f"{name} is {given!r}; {cure}")
    begun = given is None and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    need(
        not begun,
        "execution.deterministic",
        f"CUDA has begun without {name}; {cure}",
    )
    os.environ.setdefault(name, _REPRODUCIBLE[0])


def join_ranks() -> None:
    """Meet the other ranks that torchrun started. Tensors on CPUs go by gloo, those on GPUs by NCCL."""
    backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backends, timeout=_LONGEST_WAIT)
