"""Masks of every shape: equal to a slow reference, exact in their counts, the same however a batch is shared."""

from __future__ import annotations

import numpy as np
import pytest
import slow_masks
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from synfarm_trainer.config import TrainConfig, from_dict, to_dict
from synfarm_trainer.data.blocks import outside_blocks
from synfarm_trainer.data.cells import draw_masks
from synfarm_trainer.data.cropids import CropIds, global_crops
from synfarm_trainer.losses.masked_patches import image_means
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.presets import resolve

SHAPES = ("random", "block", "blocks")


def config(**overrides: object) -> TrainConfig:
    fields = {"data.captions_per_batch": 24, "objective.ibot_weight": 1.0}
    return resolve("tiny", {**fields, **{name.replace("__", "."): value for name, value in overrides.items()}})


def crops_of(run: TrainConfig, captions: int) -> CropIds:
    image = np.arange(captions * run.data.views, dtype=np.int64)
    views = run.data.views
    return CropIds.of(image * 0 + 77, image // views, image % views, global_crops(run.data.crops))


def plain(ids: CropIds) -> list[slow_masks.Crop]:
    return list(zip(*(x.tolist() for x in (ids.job, ids.index, ids.k, ids.crop)), strict=True))


@st.composite
def runs(draw: st.DrawFn) -> TrainConfig:
    """Small grids and cells of every shape; such as mask less than a patch are refused, see below."""
    low = draw(st.floats(0.01, 1))
    fields = {
        "data__cell_captions": draw(st.sampled_from([1, 2, 3])),
        "data__views": draw(st.sampled_from([2, 3, 4])),
        "data__crops": draw(st.sampled_from([1, 2])),
        "augment__size": 8 * draw(st.integers(1, 7)),
        "mask__shape": draw(st.sampled_from(SHAPES)),
        "mask__first_views": draw(st.booleans()),
        "mask__images": draw(st.floats(0.05, 1)),
        "mask__ratio": [low, draw(st.floats(low, 1))],
    }
    try:
        return config(**fields)
    except ValueError as error:
        assume(str(error).startswith("mask."))
        assume(False)
        raise


SEEDS = st.integers(0, 2**63 - 1)


@given(runs(), SEEDS, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_masks_are_those_of_the_slow_reference(run: TrainConfig, seed: int, epoch: int) -> None:
    ids = crops_of(run, 2 * run.data.cell_captions)
    assert draw_masks(run, seed, epoch, ids).tolist() == slow_masks.masks(run, seed, epoch, plain(ids))


@given(runs(), SEEDS)
@settings(max_examples=100, deadline=None)
def test_pitfall_17_counts_are_exact_in_every_cell_and_no_masked_image_has_none(run: TrainConfig, seed: int) -> None:
    counts = draw_masks(run, seed, 0, crops_of(run, 3 * run.data.cell_captions)).sum(axis=1)
    wanted = run.masked_tokens_of_cell
    assert len(wanted) == int(run.cell_images * run.mask.images)
    assert min(wanted) > 0
    for cell in counts.reshape(3, -1).tolist():
        assert sorted(cell, reverse=True) == sorted((*wanted, *(0,) * (run.cell_images - len(wanted))), reverse=True)


@pytest.mark.parametrize("low", [0.001, 0.02])
def test_pitfall_17_a_range_that_would_mask_nothing_somewhere_is_refused(low: float) -> None:
    """36 patches: a stratum of a ratio below 1/36 holds none."""
    with pytest.raises(ValueError, match=rf"mask\.ratio: {low} of an image's 36 patches is less than one"):
        config(mask__ratio=[low, 0.03], data__cell_captions=8)


@given(runs(), SEEDS, st.data())
@settings(max_examples=40, deadline=None)
def test_pitfall_17_an_image_weighs_one_over_its_actual_count(run: TrainConfig, seed: int, data: st.DataObject) -> None:
    masks = torch.from_numpy(draw_masks(run, seed, 0, crops_of(run, run.data.cell_captions)))
    losses = torch.tensor(data.draw(st.lists(st.floats(0, 9), min_size=(n := int(masks.sum())), max_size=n)))
    left = losses.tolist()
    means = []
    for mask in masks.tolist():
        mine = [left.pop(0) for hidden in mask if hidden]
        means.append(sum(mine) / len(mine) if mine else 0.0)
    torch.testing.assert_close(image_means(losses.double(), masks), torch.tensor(means, dtype=torch.float64))


@given(runs(), SEEDS, st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_ranks_and_micro_batches_of_whole_cells_have_the_masks_of_the_batch(
    run: TrainConfig, seed: int, cells: int
) -> None:
    ids = crops_of(run, 3 * run.data.cell_captions)
    whole, share = draw_masks(run, seed, 4, ids), cells * run.cell_images
    fields = ids.job, ids.index, ids.k, ids.crop, ids.turn
    ranks = [
        draw_masks(run, seed, 4, CropIds(*(x[start : start + share] for x in fields)))
        for start in range(0, len(ids), share)
    ]
    assert np.array_equal(np.concatenate(ranks), whole)
    batch = TensorBatch(torch.zeros(len(ids), 1, 1, 3), torch.zeros(len(ids)), masks=torch.from_numpy(whole))
    for part, mask in zip(batch.parts(share), ranks, strict=True):
        assert part.masks.tolist() == mask.tolist()


def test_several_blocks_are_blocks_and_wholly_used() -> None:
    """Of 14 x 14 patches 98 in more than one rectangle, with few scattered ones; no direction is preferred."""
    run = config(mask__shape="blocks", model__patch=8, augment__size=112, mask__images=1.0)
    ids = crops_of(run, 200)
    free = outside_blocks(ids, 5, 0, 14, np.full(len(ids), 98))
    missed = 98 - (~free).sum(axis=1)
    assert 0 <= missed.min() <= missed.max() <= 6
    assert (missed > 0).mean() < 0.1
    masks = draw_masks(run, 1, 0, ids).reshape(-1, 14, 14)
    neighbours = (masks[:, 1:] == masks[:, :-1]).mean(), (masks[:, :, 1:] == masks[:, :, :-1]).mean()
    assert min(neighbours) > 0.8, "scattered patches would have 0.5"
    heights, widths = (np.ptp(np.nonzero(masks[0].any(axis=axis))[0]) + 1 for axis in (0, 1))
    assert heights * widths > 98 + 14, "more than one rectangle"
    chance = masks.mean(axis=0)
    for turned in (chance[::-1], chance[:, ::-1], chance.T):
        assert np.abs(chance - turned).max() < 0.08
    assert chance[6:8, 6:8].mean() > 2 * chance[0, 0], "blocks lie within the image: BEiT's leave corners free too"


@pytest.mark.parametrize("crops", [1, 2])
def test_first_views_are_the_same_number_of_every_caption_and_any_of_its_images(crops: int) -> None:
    run = config(mask__first_views=True, data__cell_captions=4, data__crops=crops)
    masked = np.stack([draw_masks(run, 1, epoch, crops_of(run, 24)).any(axis=1) for epoch in range(60)])
    by_caption = masked.reshape(60, 24, 4, crops)
    assert (by_caption.sum(axis=(2, 3)) == 2 * crops).all()
    assert (by_caption.all(axis=3) == by_caption.any(axis=3)).all(), "crops of an image go together"
    assert np.abs(by_caption.mean(axis=(0, 1)) - 0.5).max() < 0.06
    anywhere = config(data__cell_captions=4, data__crops=crops)
    assert len(set(draw_masks(anywhere, 1, 0, crops_of(run, 24)).any(axis=1).reshape(24, -1).sum(axis=1))) > 2


def test_a_run_frozen_before_first_views_goes_on_as_it_would_have() -> None:
    tree = to_dict(resolve("small"))
    del tree["mask"]["first_views"]
    assert from_dict(tree) == resolve("small")
