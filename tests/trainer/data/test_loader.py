"""The same batches whatever the number of ranks and threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synfarm.storage.memory import MemoryStore
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.loader import Loader, RankBatch, batch_sha256, image_numbers
from synfarm_trainer.data.manifest import load_dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.data.texts import encode_text
from synfarm_trainer.presets import resolve

STEPS = 4
PLAIN: dict[str, object] = {
    "data.captions_per_batch": 12,
    "data.block_shards": 3,
    "data.prefetch_steps": 3,
    "augment.size": 24,
    "augment.jitter": 0.8,
    "augment.blur_b": 0.5,
}


def batches(
    store, dataset, config: TrainConfig, *, world: int = 1, threads: int = 1, start: int = 0
) -> list[list[RankBatch]]:
    """By rank, then by step."""
    data = config.data
    threaded = replace(config, data=replace(data, threads=threads))
    plan = Plan(dataset.table, 7, data.captions_per_batch, data.block_shards, data.held_out, data.cell_captions)
    parts = []
    for rank in range(world):
        loader = Loader(dataset, plan, ShardCache(store, 1 << 20), threaded, rank=rank, world=world)
        parts.append(list(loader.batches(start, STEPS)))
        loader.close()
    return parts


def hashes(store, dataset, config: TrainConfig, **how: int) -> list[str]:
    by_rank = batches(store, dataset, config, **how)
    return [batch_sha256(np.concatenate([part.digests for part in step])) for step in zip(*by_rank, strict=True)]


@pytest.fixture
def stored(write_dataset):
    store = MemoryStore()
    return store, load_dataset(store, [write_dataset(store)], views=4)


@pytest.fixture
def full(every_term: dict[str, object]) -> TrainConfig:
    return resolve("tiny", {**PLAIN, **every_term})


def test_batches_are_the_same_at_any_number_of_ranks_and_threads(stored) -> None:
    config = resolve("tiny", PLAIN)
    alone = hashes(*stored, config)
    assert len(set(alone)) == STEPS
    for world, threads in ((1, 4), (2, 1), (4, 4), (3, 2)):
        assert hashes(*stored, config, world=world, threads=threads) == alone


def test_so_are_masks_local_crops_and_dropped_branches(stored, full: TrainConfig) -> None:
    whole = batches(*stored, full)[0]
    alone = [batch_sha256(step.digests) for step in whole]
    for world, threads in ((1, 4), (2, 4), (4, 1)):
        by_rank = batches(*stored, full, world=world, threads=threads)
        for name in ("pixels", "local_pixels", "masks", "kept", "local_kept"):
            for step in range(STEPS):
                shares = [getattr(by_rank[rank][step], name) for rank in range(world)]
                assert np.array_equal(np.concatenate(shares), getattr(whole[step], name)), name
        digests = (np.concatenate([part.digests for part in step]) for step in zip(*by_rank, strict=True))
        assert [batch_sha256(digest) for digest in digests] == alone
    first = whole[0]
    assert first.pixels.shape == (48, 24, 24, 3)
    assert first.local_pixels.shape == (96, 8, 8, 3)
    assert (first.masks.shape, first.kept.shape, first.local_kept.shape) == ((48, 9), (48, 3, 2), (96, 3, 2))


def test_the_hash_of_a_batch_covers_all_that_was_drawn(stored, every_term: dict[str, object]) -> None:
    def changed(**overrides: object) -> str:
        fields = {**PLAIN, **every_term, **{name.replace("__", "."): value for name, value in overrides.items()}}
        return hashes(*stored, resolve("tiny", fields))[0]

    found = [
        changed(),
        changed(mask__shape="block"),
        changed(local_crops__scale=[0.2, 0.3]),
        changed(model__drop_path=0.4),
    ]
    assert len(set(found)) == 4


def test_texts_are_read_where_the_objective_asks_for_them(stored) -> None:
    """And they are part of the hash: the same images with a shorter text are another batch."""
    dataset = stored[1]
    config = resolve("tiny", {**PLAIN, "objective.name": "clip", "objective.context": 24, "data.views": 1})
    step = batches(*stored, config)[0][0]
    kinds = [dataset.rows[row].concept.removeprefix("thing ") for row in step.rows.tolist()]
    expected = [encode_text(f"a thing of kind {kind}", 24) for kind in kinds]
    assert np.array_equal(step.texts, expected)
    shared = batches(*stored, config, world=3, threads=2)
    assert np.array_equal(np.concatenate([part[0].texts for part in shared]), step.texts)
    assert np.array_equal(np.concatenate([part[0].digests for part in shared]), step.digests)
    cut = batches(
        *stored, resolve("tiny", {**PLAIN, "objective.name": "clip", "objective.context": 12, "data.views": 1})
    )
    assert np.array_equal(cut[0][0].pixels, step.pixels)
    assert not np.array_equal(cut[0][0].digests, step.digests)
    assert batches(*stored, resolve("tiny", PLAIN))[0][0].texts is None


def test_local_crops_of_an_image_are_drawn_apart_from_each_other_and_from_the_global_one(stored) -> None:
    same = {"local_crops.count": 2, "local_crops.size": 24, "local_crops.scale": [0.7, 1.0], "data.cell_captions": 1}
    batch = batches(*stored, resolve("tiny", {**PLAIN, **same}))[0][0]
    crops = np.concatenate([batch.pixels[:, None], batch.local_pixels.reshape(48, 2, 24, 24, 3)], axis=1)
    for image in crops:
        assert len({crop.tobytes() for crop in image}) == 3


def test_a_loader_that_begins_later_goes_on_with_the_same_batches(stored, full: TrainConfig) -> None:
    assert hashes(*stored, full, world=2, threads=2, start=2) == hashes(*stored, full)[2:]


def test_fewer_views_than_images_are_drawn_anew_each_epoch(stored) -> None:
    config = resolve("tiny", {**PLAIN, "data.views": 2})
    few = hashes(*stored, config)
    assert hashes(*stored, config, world=2, threads=2) == few


def test_views_are_distinct_images_and_each_is_as_likely() -> None:
    """Pitfall 27: a twin among a caption's views would be a positive that is no other image."""
    drawn = np.array([image_numbers(3, epoch, 5, index, 6, 4) for epoch in range(4) for index in range(5000)])
    assert all(len(set(views)) == 4 for views in drawn.tolist())
    assert np.bincount(drawn.reshape(-1)) / len(drawn) == pytest.approx([4 / 6] * 6, abs=0.015)


def test_a_batch_takes_no_image_twice(stored) -> None:
    """Pitfall 27: whole images, each cut alike, so that equal pixels are equal images."""
    whole = {f"augment.{name}": 0.0 for name in ("flip", "jitter", "gray", "blur_a", "blur_b", "solarize_b")}
    config = resolve("tiny", {**PLAIN, **whole, "augment.scale": [1, 1], "augment.ratio": [1, 1], "data.views": 3})
    for step in batches(*stored, config)[0]:
        for caption in step.pixels.reshape(12, 3, -1):
            assert len({image.tobytes() for image in caption}) == 3


@pytest.mark.parametrize(("views", "crops"), [(2, 1), (3, 1), (2, 2)])
def test_variants_that_alternate_do_so_over_the_crops_of_the_batch(stored, views: int, crops: int) -> None:
    config = resolve("tiny", {**PLAIN, "augment.variants": "alternate", "data.views": views, "data.crops": crops})
    store, dataset = stored
    plan = Plan(dataset.table, 7, 12, 3, config.data.held_out)
    loader = Loader(dataset, plan, ShardCache(store, 1 << 20), config)
    for step in range(STEPS):
        b = loader._draw(step).kinds[0].params.variant_b.reshape(12, views * crops)
        assert (b[:, 1:] != b[:, :-1]).all()
    loader.close()


def test_ranks_that_cut_a_cell_are_refused(stored, full: TrainConfig) -> None:
    with pytest.raises(ValueError, match=r"12 captions in cells of 3 cannot be shared by 3 ranks; use a multiple of 9"):
        batches(*stored, full, world=3)
