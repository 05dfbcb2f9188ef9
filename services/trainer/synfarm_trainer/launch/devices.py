"""The sets of devices that runs are given, one run a set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

__all__ = ["ALL", "CLUSTER", "DeviceSet", "has_gpus", "parse_devices", "suitable", "visible_gpus"]

_SETTING = "SYNFARM_TRAINER_DEVICES"
_GPU = re.compile(r"[0-9]+|(GPU|MIG)-[A-Za-z0-9/-]+")
_NODE = re.compile(r"nvidia[0-9]+|kfd|dxg")
"""In ``/dev``: NVIDIA's driver makes one for each GPU, AMD's (of ROCm) one for all of them, WSL's likewise."""


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
        elif all(map(_GPU.fullmatch, ids)):
            sets.append(DeviceSet(",".join(ids), ids))
        else:
            raise ValueError(f"{_SETTING}: {part!r} is no set; write GPUs as in 0,1;2,3, or cpu")
    gpus = [gpu for devices in sets for gpu in devices.gpus]
    if twice := sorted({gpu for gpu in gpus if gpus.count(gpu) > 1}):
        raise ValueError(f"{_SETTING}: GPU {twice[0]} is listed twice; a GPU belongs to one set")
    return tuple(sets)


def visible_gpus(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """Those that CUDA_VISIBLE_DEVICES names, up to the first that it cannot name; None: it says nothing."""
    if (text := environment.get("CUDA_VISIBLE_DEVICES")) is None:
        return None
    return tuple(takewhile(_GPU.fullmatch, (word.strip() for word in text.split(","))))


def has_gpus(nodes: Path) -> bool:
    """Whether a machine has any, by its folder of devices: the service itself loads no torch."""
    return nodes.is_dir() and any(_NODE.fullmatch(node.name) for node in nodes.iterdir())


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
