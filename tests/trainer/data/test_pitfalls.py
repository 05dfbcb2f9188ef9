"""The pitfalls of method section 7 that concern batches, a test each under its number (docs/pitfalls.md has all)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from synfarm.storage.memory import MemoryStore
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.augment import apply_crop, draw_params, local_augment
from synfarm_trainer.data.cropids import CropIds, global_crops
from synfarm_trainer.data.decode import decode_group
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.loader import Loader, image_numbers
from synfarm_trainer.data.manifest import load_dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.landing import land
from synfarm_trainer.presets import resolve
from synfarm_trainer.schedules import learning_rate

CAPTIONS, VIEWS, CROPS, LOCAL = 6, 3, 2, 2
FIELDS: dict[str, object] = {
    "data.captions_per_batch": CAPTIONS,
    "data.views": VIEWS,
    "data.crops": CROPS,
    "augment.name": "dinov2",
    "augment.size": 24,
    "local_crops.count": LOCAL,
    "local_crops.size": 16,
}


@pytest.fixture
def stored(write_dataset):
    store = MemoryStore()
    return store, load_dataset(store, [write_dataset(store, captions=32)], views=VIEWS)


def loader_of(stored, config: TrainConfig) -> Loader:
    store, dataset = stored
    plan = Plan(dataset.table, 7, CAPTIONS, 3, config.data.held_out)
    return Loader(dataset, plan, ShardCache(store, 1 << 20), config)


def test_08_crops_stand_by_caption_image_and_number_and_labels_with_them(stored) -> None:
    """The release is view-major in global crops and image-major in local ones; here both are caption by caption.

    Each crop of a batch is cut again alone, from the image that its place says it is of.
    """
    (store, dataset), config = stored, resolve("tiny", FIELDS)
    loader = loader_of(stored, config)
    batch = next(loader.batches(0, 1))
    loader.close()
    tensors = land(batch, config, torch.device("cpu"))
    local, cache = local_augment(config.augment, config.local_crops), ShardCache(store, 1 << 20)
    place = small = 0
    for row in batch.rows.tolist():
        job, index = (int(x[row]) for x in (dataset.table.job, dataset.table.index))
        numbers = image_numbers(7, 0, job, index, dataset.images_of(row), VIEWS)
        group = decode_group(cache.get(dataset.shards[dataset.shard_of[row]]), dataset.rows[row], numbers)
        for view, (number, image) in enumerate(zip(numbers, group.images, strict=True)):
            one = (np.array([x], dtype=np.int64) for x in (job, index, number))
            job_of, index_of, k = one
            whole = CropIds.of(job_of, index_of, k, global_crops(CROPS), view=np.array([view]))
            params = draw_params(config.augment, 7, 0, whole)
            for n in range(CROPS):
                assert np.array_equal(tensors.pixels[place], apply_crop(Image.fromarray(image), 24, params, n))
                assert (tensors.labels[place], tensors.concepts[place]) == (row, dataset.table.concept[row])
                place += 1
            params = draw_params(local, 7, 0, CropIds.of(job_of, index_of, k, range(1, 1 + LOCAL)))
            for n in range(LOCAL):
                assert np.array_equal(tensors.local_pixels[small], apply_crop(Image.fromarray(image), 16, params, n))
                assert tensors.local_labels[small] == row
                small += 1
    assert (place, small) == (len(tensors.pixels), len(tensors.local_pixels))


@pytest.mark.parametrize("captions", [6, 12])
def test_24_a_batch_is_counted_in_captions_and_the_rate_is_the_one_that_is_given(stored, captions: int) -> None:
    config = resolve("tiny", {**FIELDS, "data.captions_per_batch": captions, "data.cell_captions": 3})
    store, dataset = stored
    plan = Plan(dataset.table, 7, captions, 3, config.data.held_out, 3)
    loader = Loader(dataset, plan, ShardCache(store, 1 << 20), config)
    batch = next(loader.batches(0, 1))
    loader.close()
    images = captions * VIEWS
    assert len(batch.rows) == len(set(batch.rows.tolist())) == captions
    assert len(batch.pixels) == images * CROPS == captions * config.crops_of_caption
    assert len(batch.local_pixels) == images * LOCAL == images * config.local_count
    assert config.cell_images == 3 * VIEWS * CROPS
    parts = land(batch, config, torch.device("cpu")).parts(3 * config.crops_of_caption)
    assert [len(part.pixels) for part in parts] == [3 * VIEWS * CROPS] * (captions // 3)
    assert learning_rate(config.schedule.warmup_steps, config.schedule, config.optim) == config.optim.lr
