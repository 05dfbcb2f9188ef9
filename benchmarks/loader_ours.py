"""The trainer's loader as a contestant: endless batches of the preset ``vit-b16`` with its crops, masks and drops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loader_job import VIEWS
from loader_setting import Setting

from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.loader import Loader, RankBatch
from synfarm_trainer.data.manifest import load_dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.heap import limit_heaps
from synfarm_trainer.presets import resolve

__all__ = ["batches", "images_of"]

_FOREVER = 1 << 40
_AUGMENTS = {"data.views": VIEWS, "data.held_out": 0.01, "augment.name": "synclr-release"}


def batches(setting: Setting, overrides: dict[str, Any]) -> Iterator[RankBatch]:
    """
    Args:
        overrides: of the configuration, after those that the comparison asks for.
    """
    limit_heaps()  # as an entry of a rank does
    asked = {
        "data.captions_per_batch": setting.batch,
        "execution.micro_captions": 0,
        "data.threads": setting.workers,
        "data.cache_mib": 512,
        "data.block_shards": 4,
    }
    config = resolve("vit-b16", {**_AUGMENTS, **asked, **overrides})
    store, data = setting.store(), config.data
    dataset = load_dataset(store, [setting.ref], views=VIEWS)
    plan = Plan(dataset.table, 0, data.captions_per_batch, data.block_shards, data.held_out, data.cell_captions)
    loader = Loader(dataset, plan, ShardCache(store, data.cache_mib << 20), config)
    return loader.batches(0, _FOREVER)


def images_of(batch: Any) -> int:
    """Images in a batch of this loader or, whose first tensor is of (captions, views, ...), of a rival."""
    if isinstance(batch, RankBatch):
        return len(batch.rows) * VIEWS
    return int(batch[0].shape[0] * batch[0].shape[1])
