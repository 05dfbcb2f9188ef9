"""The loader in both forms of ``execution.augment``, over a small stored dataset: what an image costs where."""

from __future__ import annotations

import time

import numpy as np
import torch
from loader_job import VIEWS, write_job
from numpy.typing import NDArray

from synfarm.storage.memory import MemoryStore
from synfarm_render_worker.encoding import encode
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.loader import Loader
from synfarm_trainer.data.manifest import Dataset, load_dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.presets import resolve

__all__ = ["host_and_device"]


def _stored(store: MemoryStore, pictures: NDArray[np.uint8]) -> Dataset:
    """Captions of four of ``pictures`` each, as the farm packs them."""
    files = [encode(picture, "jpg", 90) for picture in pictures]
    job = write_job(store, files, len(files) // VIEWS, pictures.shape[1], 90)
    return load_dataset(store, [job], views=VIEWS)


def _timed(store: MemoryStore, dataset: Dataset, config: TrainConfig, device: torch.device) -> tuple[float, float]:
    """Milliseconds an image: the host's processors for its batch, and the clock for the cutting that is left."""
    data = config.data
    plan = Plan(dataset.table, 0, data.captions_per_batch, data.block_shards, data.held_out, data.cell_captions)
    loader = Loader(dataset, plan, ShardCache(store, 1 << 30), config)
    steps, cutting = plan.steps_per_epoch, 0.0
    first = next(batches := loader.batches(0, 1 + steps))
    if first.uncut is not None:
        first.uncut.cut(device)
    began = time.process_time()
    read = list(batches)
    host = time.process_time() - began
    loader.close()
    images = steps * data.captions_per_batch * data.views
    for batch in read:
        if batch.uncut is not None:
            since = time.perf_counter()
            for crops in batch.uncut.cut(device):
                crops.cpu()
            cutting += time.perf_counter() - since
    return 1000 * host / images, 1000 * cutting / images


def host_and_device(pictures: NDArray[np.uint8]) -> list[tuple[str, float, float]]:
    """(form, milliseconds of the host's processors, milliseconds of cutting on the device) an image, crops of ViT-B/16.

    The first batch does not count; the device is a GPU where there is one.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    store = MemoryStore()
    dataset = _stored(store, pictures)
    batch = {"data.captions_per_batch": 8, "execution.micro_captions": 8, "data.threads": 1, "data.prefetch_steps": 1}
    runs = [(form, resolve("vit-b16", {**batch, "execution.augment": form})) for form in ("cpu", "device")]
    return [(form, *_timed(store, dataset, run, device)) for form, run in runs]
