"""What is drawn per cell: exact counts, fair chances, and nothing that depends on the rest of the batch."""

from __future__ import annotations

import numpy as np
import pytest

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.cells import draw_kept, draw_masks
from synfarm_trainer.data.cropids import CropIds
from synfarm_trainer.presets import resolve

VIEWS, CELL = 4, 4


def config(**overrides: object) -> TrainConfig:
    fields = {"data.cell_captions": CELL, "objective.ibot_weight": 1.0, "model.drop_path": 0.4, "model.depth": 5}
    return resolve("tiny", {**fields, **{name.replace("__", "."): value for name, value in overrides.items()}})


def ids(captions: int, crops: tuple[int, ...] = (0,), first: int = 0) -> CropIds:
    index = np.arange(first, first + captions, dtype=np.int64).repeat(VIEWS)
    k = np.tile(np.arange(VIEWS, dtype=np.int64), captions)
    return CropIds.of(np.full(len(index), 77, dtype=np.int64), index, k, crops)


@pytest.mark.parametrize("shape", ["random", "block"])
def test_every_cell_masks_the_same_number_of_images_and_tokens(shape: str) -> None:
    run = config(mask__shape=shape)
    masks = draw_masks(run, 1, 0, ids(40 * CELL))
    assert masks.shape == (40 * CELL * VIEWS, 36)
    counts = masks.sum(axis=1).reshape(40, CELL * VIEWS)
    assert set(counts.reshape(-1).tolist()) == {0, 18}
    assert ((counts > 0).sum(axis=1) == 8).all()
    masked = masks[masks.any(axis=1)]
    assert len({row.tobytes() for row in masked}) > (300 if shape == "random" else 80)


def test_every_image_and_every_patch_has_the_same_chance() -> None:
    masks = np.concatenate([draw_masks(config(), 1, epoch, ids(50 * CELL)) for epoch in range(4)])
    assert np.abs(masks.mean(axis=0) - 0.25).max() < 0.03
    per_image = masks.any(axis=1).reshape(-1, CELL * VIEWS).mean(axis=0)
    assert np.abs(per_image - 0.5).max() < 0.15


def test_a_range_of_ratios_uses_all_its_strata_in_every_cell() -> None:
    run = config(mask__ratio=[0.1, 0.5])
    assert run.masked_tokens_of_cell == (4, 6, 8, 9, 11, 13, 15, 17)
    counts = draw_masks(run, 1, 0, ids(10 * CELL)).sum(axis=1).reshape(10, -1)
    for cell in counts.tolist():
        assert sorted(cell) == [0] * 8 + [4, 6, 8, 9, 11, 13, 15, 17]


def test_a_block_is_one_rectangle_but_for_its_last_row() -> None:
    masks = draw_masks(config(mask__shape="block"), 1, 0, ids(20 * CELL))
    for mask in masks[masks.any(axis=1)].reshape(-1, 6, 6):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height, "no gap"
        assert len(columns) == width, "no gap"
        assert height * width - 18 < max(height, width), "all but a part of one side is masked"
    random = draw_masks(config(), 1, 0, ids(20 * CELL))
    assert not np.array_equal(masks, random)


def test_a_cell_is_the_same_alone_and_in_company() -> None:
    run = config()
    for draw in (lambda x: draw_masks(run, 5, 2, x), lambda x: draw_kept(run, 5, 2, x, CELL * VIEWS)):
        together = draw(ids(3 * CELL))
        alone = draw(ids(CELL, first=CELL))
        assert np.array_equal(together[CELL * VIEWS : 2 * CELL * VIEWS], alone)
        assert not np.array_equal(together[: CELL * VIEWS], alone)


def test_epochs_and_seeds_draw_anew() -> None:
    run = config()
    masks = {draw_masks(run, seed, epoch, ids(CELL)).tobytes() for seed in (1, 2) for epoch in (0, 1)}
    kept = {draw_kept(run, seed, epoch, ids(CELL), 16).tobytes() for seed in (1, 2) for epoch in (0, 1)}
    assert (len(masks), len(kept)) == (4, 4)


def test_stochastic_depth_drops_fixed_counts_that_rise_with_depth() -> None:
    run = config()
    assert run.dropped_of_cell(16) == (0, 2, 3, 5, 6)
    kept = draw_kept(run, 1, 0, ids(30 * CELL), 16).reshape(30, 16, 5, 2)
    dropped = (~kept).sum(axis=1)
    assert (dropped == np.array([0, 2, 3, 5, 6])[:, None]).all()
    assert np.abs(kept[:, :, 4].mean(axis=(0, 2)) - 10 / 16).max() < 0.2
    assert not np.array_equal(kept[:, :, 4, 0], kept[:, :, 4, 1]), "attention and MLP are drawn apart"


def test_local_crops_are_dropped_apart_from_one_another() -> None:
    run = config()
    kept = draw_kept(run, 1, 0, ids(CELL, crops=(1, 2)), 32)
    assert (~kept).sum(axis=0)[4].tolist() == [13, 13]
    assert not np.array_equal(kept[0::2], kept[1::2])


def test_nothing_is_drawn_where_nothing_is_asked_for() -> None:
    run = resolve("tiny", {"objective.ibot_weight": 0.0, "model.drop_path": 0.0})
    assert draw_masks(run, 1, 0, ids(4)) is None
    assert draw_kept(run, 1, 0, ids(4), 16) is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"data__captions_per_batch": 30},
            r"data\.captions_per_batch: .* multiple of data\.cell_captions \(4\)",
        ),
        ({"execution__micro_captions": 6}, r"execution\.micro_captions: must be a multiple of data\.cell_captions"),
        ({"mask__images": 0.05}, r"mask\.images: 0\.05 of the 16 images of a cell is less than one"),
        ({"mask__ratio": [0.01, 0.5], "mask__images": 1.0}, r"mask\.ratio: 0\.01 of an image's 36 patches is less"),
        ({"mask__ratio": [0.6, 0.5]}, r"mask\.ratio: must rise"),
        ({"mask__shape": "disc"}, r"mask\.shape: must be one of random, block, blocks"),
        ({"model__drop_path": 0.01}, r"model\.drop_path: .* less than half an image; raise it or data\.cell_captions"),
        ({"model__drop_path": 0.99}, r"model\.drop_path: .* is all of them"),
        ({"local_crops__count": 2, "local_crops__size": 20}, r"local_crops\.size: 20 is no multiple of model\.patch"),
        ({"objective__prototypes": 1}, r"objective\.prototypes: must be at least 2"),
        ({"objective__teacher_temperature": 0.0}, r"objective\.teacher_temperature: must be positive"),
    ],
)
def test_what_makes_no_whole_cells_is_refused_by_name(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**overrides)
