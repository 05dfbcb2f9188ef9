"""The sets of devices that runs are given, one run a set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ALL", "CLUSTER", "DeviceSet", "parse_devices", "suitable"]

_SETTING = "SYNFARM_TRAINER_DEVICES"


@dataclass(frozen=True, slots=True)
class DeviceSet:
    """``gpus`` for named ones, ``cpu`` for none, and ``all`` for whatever the machine has."""

    name: str
    gpus: tuple[str, ...] = ()
    """As CUDA_VISIBLE_DEVICES takes them: numbers, or the names of GPUs and of their parts."""

    @property
    def is_cpu(self) -> bool:
        return self.name == "cpu"

    def environment(self) -> dict[str, str]:
        """What the ranks are told; torch sees no other GPU."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus or self.is_cpu else {}


ALL = DeviceSet("all")
CLUSTER = DeviceSet("cluster")
"""Whatever another scheduler gives."""


def parse_devices(text: str) -> tuple[DeviceSet, ...]:
    """``0,1;2,3`` as two sets of two GPUs; ``cpu`` is a set without; nothing is the whole machine for one run.

    Raises:
        ValueError: a set is empty, or a GPU is in two of them.
    """
    if not text.strip():
        return (ALL,)
    sets: list[DeviceSet] = []
    for part in text.split(";"):
        ids = tuple(word.strip() for word in part.split(","))
        if ids == ("cpu",):
            sets.append(DeviceSet("cpu"))
        elif all(re.fullmatch(r"[0-9]+|(GPU|MIG)-[A-Za-z0-9/-]+", word) for word in ids):
            sets.append(DeviceSet(",".join(ids), ids))
        else:
            raise ValueError(f"{_SETTING}: {part!r} is no set; write GPUs as in 0,1;2,3, or cpu")
    gpus = [gpu for devices in sets for gpu in devices.gpus]
    if twice := sorted({gpu for gpu in gpus if gpus.count(gpu) > 1}):
        raise ValueError(f"{_SETTING}: GPU {twice[0]} is listed twice; a GPU belongs to one set")
    return tuple(sets)


def suitable(sets: Sequence[DeviceSet], ranks: int, device: str, most: int) -> tuple[DeviceSet, ...]:
    """The sets that a run may be given.

    Args:
        device: ``execution.device``. A run that takes what there is (``auto``) goes to GPUs if any set has enough of
            them, and then to nothing else: a restart must not change what it computes with.
        most: ranks on a machine where no number of GPUs says it.
    """
    able = [devices for devices in sets if devices in {ALL, CLUSTER} and ranks <= most]
    gpus = [devices for devices in sets if devices.gpus and ranks <= len(devices.gpus)]
    cpus = [devices for devices in sets if devices.is_cpu and ranks <= most]
    if device == "cuda":
        return (*able, *gpus)
    if device == "auto":
        return (*able, *(gpus or cpus))
    # On CPUs the number of GPUs does not matter; a set of them is taken where there is no other.
    return (*able, *cpus) or tuple(devices for devices in sets if ranks <= most)
