"""Crops that are cut where the network is: near those of the loader's threads, their hash the same anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synfarm.storage.memory import MemoryStore
from synfarm_trainer.config import TrainConfig, from_dict, to_dict
from synfarm_trainer.data.augment import draw_params
from synfarm_trainer.data.augment import uncut as module
from synfarm_trainer.data.augment.device import apply_crops
from synfarm_trainer.data.augment.uncut import CropKind, Uncut
from synfarm_trainer.data.cropids import CropIds
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.loader import Loader, RankBatch, batch_sha256
from synfarm_trainer.data.manifest import load_dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.presets import resolve

CPU = torch.device("cpu")
STEPS = 2


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stored(write_dataset):
    store = MemoryStore()
    return store, load_dataset(store, [write_dataset(store)], views=4)


def run_of(every_term: dict[str, object], form: str, **more: object) -> TrainConfig:
    fields = {"data.captions_per_batch": 12, "data.crops": 2, "augment.size": 24, **every_term, "local_crops.size": 16}
    release = {"augment.name": "synclr-release", "execution.augment": form}
    return resolve("tiny", {**fields, **release, **{name.replace("__", "."): value for name, value in more.items()}})


def batches(stored, config: TrainConfig, *, world: int = 1, threads: int = 1, seed: int = 7) -> list[list[RankBatch]]:
    """By rank, then by step."""
    store, dataset = stored
    config = replace(config, data=replace(config.data, threads=threads))
    plan = Plan(dataset.table, seed, 12, config.data.block_shards, config.data.held_out, config.data.cell_captions)
    parts = []
    for rank in range(world):
        loader = Loader(dataset, plan, ShardCache(store, 1 << 20), config, rank=rank, world=world)
        parts.append(list(loader.batches(0, STEPS)))
        loader.close()
    return parts


def test_both_forms_of_a_batch_are_the_same_but_for_a_few_grey_levels(stored, every_term) -> None:
    host = batches(stored, run_of(every_term, "cpu"))[0]
    device = batches(stored, run_of(every_term, "device"))[0]
    for one, other in zip(host, device, strict=True):
        assert (one.uncut, other.pixels, other.local_pixels) == (None, None, None)
        for name in ("rows", "concepts", "masks", "kept", "local_kept"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
        for cut, made in zip((one.pixels, one.local_pixels), other.uncut.cut(CPU), strict=True):
            found = np.abs(cut.astype(np.int64) - made.numpy())
            assert found.mean() < 0.25
            assert (found >= 4).mean() < 0.001


def test_crops_and_their_hash_are_the_same_at_any_number_of_ranks_and_threads(stored, every_term) -> None:
    config = run_of(every_term, "device")
    whole = batches(stored, config)[0]
    for world, threads in ((1, 3), (2, 2), (4, 1)):
        by_rank = batches(stored, config, world=world, threads=threads)
        for alone, *shares in zip(whole, *by_rank, strict=True):
            assert np.array_equal(np.concatenate([share.digests for share in shares]), alone.digests)
            cut = [share.uncut.cut(CPU) for share in shares]
            for kind, made in enumerate(alone.uncut.cut(CPU)):
                assert torch.equal(torch.cat([crops[kind] for crops in cut]), made)


def test_the_hash_covers_images_and_all_that_was_drawn_of_their_crops(stored, every_term, write_dataset) -> None:
    def hash_of(form: str = "device", of=stored, **more: object) -> str:
        return batch_sha256(batches(of, run_of(every_term, form, **more))[0][0].digests)

    other = MemoryStore()
    found = {
        hash_of(),
        hash_of("cpu"),
        hash_of(of=(other, load_dataset(other, [write_dataset(other, size=40)], views=4))),
        hash_of(augment__size=32),
        hash_of(augment__scale=[0.4, 1.0]),
        hash_of(augment__blur_form="pillow"),
        hash_of(augment__solarize_b=0.9),
        hash_of(local_crops__scale=[0.1, 0.3]),
        hash_of(mask__shape="block"),
    }
    assert len(found) == 9


def test_images_of_several_sizes_are_cut_in_passes_of_one_size_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, whose passes hold several images."""
    rng, shapes = np.random.default_rng(0), [(40, 40), (30, 50), (40, 40), (50, 30), (40, 40), (30, 50)]
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    place = np.arange(len(images))
    config = resolve("small").augment
    kinds = [
        CropKind(size, draw_params(config, 3, 1, CropIds.of(place * 0, place, place * 0, range(each))))
        for size, each in ((24, 1), (8, 3))
    ]
    seen: list[tuple[int, ...]] = []

    def watched(stacked: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(tuple(stacked.shape))
        return apply_crops(stacked, *rest)

    monkeypatch.setattr(module, "apply_crops", watched)
    alone = Uncut(images, kinds).cut(CPU)
    assert {shape[0] for shape in seen} == {1}
    assert [tuple(crops.shape) for crops in alone] == [(6, 24, 24, 3), (18, 8, 8, 3)]
    for crops, kind in zip(alone, kinds, strict=True):
        for n in range(len(images)):
            own = apply_crops(
                torch.from_numpy(images[n])[None], kind.params.part(kind.crops_of(place[n : n + 1], 6)), kind.size
            )
            assert torch.equal(crops.unflatten(0, (6, -1))[n], own)

    seen.clear()
    monkeypatch.setattr(module, "_GPU_PIXELS", 2 * 40 * 40)
    passes = [places.tolist() for places in Uncut(images, kinds)._passes(torch.device("cuda"))]
    assert passes == [[0, 2], [4], [1, 5], [3]]


def test_a_run_frozen_before_the_device_form_goes_on_with_the_loaders() -> None:
    tree = to_dict(resolve("vit-b16"))
    del tree["execution"]["augment"]
    assert from_dict(tree).execution.augment == "cpu"
