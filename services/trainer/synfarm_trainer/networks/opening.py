"""The names by which a command takes a network, and where each leads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.models.frozen import Frozen
from synfarm_trainer.networks.floors import pixels
from synfarm_trainer.networks.lite0 import lite0
from synfarm_trainer.networks.of_runs import of_run
from synfarm_trainer.networks.refused import NetworkRefused
from synfarm_trainer.networks.timm_models import of_folder, of_timm

__all__ = ["FORMS", "open_network"]

FORMS = (
    "run:RUN for a run's export, run:RUN@STEP for its checkpoint, timm:MODEL for pretrained weights of the hub, "
    "timm:MODEL=FILE.safetensors for your own, folder:DIR for a folder that timm or `synfarm runs export` wrote, "
    "lite0 for EfficientNet-Lite0 of its package, pixels for the 8 x 8 means of the pixels"
)


def open_network(name: str, store: Callable[[], ObjectStore]) -> Frozen:
    """
    Args:
        store: opens the object store; asked only for networks of runs.

    Raises:
        NetworkRefused: there is none of that name, or it cannot be loaded; the message says what to do.
        StoreError, ConnectionError: it cannot be read now.
    """
    kind, _, rest = name.partition(":")
    if name == "lite0":
        return lite0()
    if name == "pixels":
        return pixels()
    if kind == "run" and rest:
        return of_run(rest, store())
    if kind == "timm" and rest:
        model, equals, file = rest.partition("=")
        return of_timm(model, Path(file) if equals else None)
    if kind == "folder" and rest:
        return of_folder(Path(rest))
    raise NetworkRefused(f"{name[:80]!r} names no network; write {FORMS}")
