"""The compiled form of the loader's work: the bits of the plain one, whatever is drawn, decoded or shared out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from synfarm.storage.memory import MemoryStore
from synfarm_trainer.config import AugmentConfig, TrainConfig
from synfarm_trainer.data.augment import CropParams, cutting, draw_params, local_augment
from synfarm_trainer.data.cropids import CropIds
from synfarm_trainer.data.decode import decode_image
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.loader import Loader, batch_sha256
from synfarm_trainer.data.manifest import load_dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.presets import resolve

FAMILIES = ("synclr-release", "paper", "stablerep", "dinov2")
SIZES = ((96, 96), (64, 101), (33, 40), (90, 52))
"""Height and width: by words of eight bytes and not, small, and higher than wide."""


def pictures() -> list[np.ndarray]:
    """Of each size flats, an edge, ramps and noise: every branch of the hue's and of the clamps."""
    rng, found = np.random.default_rng(5), []
    for height, width in SIZES:
        y, x = np.indices((height, width))
        picture = np.stack([x * 255 // width, y * 255 // height, (x * y) % 256], axis=-1)
        picture[: height // 3, : width // 3] = rng.integers(0, 256, 3)
        picture[height // 2 :, width // 2 :] = rng.integers(0, 256, (height - height // 2, width - width // 2, 3))
        picture[height // 2 :, : width // 4] = 255
        found.append(picture.astype(np.uint8))
    return found


def drawn(config: AugmentConfig, count: int) -> CropParams:
    place = np.arange(count, dtype=np.int64)
    return draw_params(config, 3, 1, CropIds.of(place * 0 + 5, place, place % 4, [0]))


def crops(form: str, images: Sequence[np.ndarray], size: int, params: CropParams) -> np.ndarray:
    """Of every image with all parameters."""
    cutter = cutting.cutter(form)
    prepared = [cutter.prepare(image) for image in images]
    return np.stack([cutter.crop(one, size, params, n) for one in prepared for n in range(len(params))])


def test_crops_have_the_bits_of_the_plain_form() -> None:
    """One test, so that what is compiled is compiled once."""
    pytest.importorskip("numba")
    images = pictures()
    for name in FAMILIES:
        often = {"augment.downsample": 0.3} if name == "paper" else {}
        run = resolve("vit-b16", {"augment.name": name, **often})
        for config in (replace(run.augment, size=44), local_augment(run.augment, replace(run.local_crops, size=16))):
            params = drawn(config, 16)
            assert params.jitter.any(), name
            assert np.array_equal(*(crops(form, images, config.size, params) for form in ("plain", "compiled"))), name
    levels = np.arange(0, 256, 15)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(18, -1, 3).astype(np.uint8)
    params = drawn(AugmentConfig(size=64, jitter=1, hue=0.5, scale=(0.9, 1.0)), 8)
    assert np.array_equal(*(crops(form, [cube], 64, params) for form in ("plain", "compiled")))


def hashes(stored, config: TrainConfig, threads: int) -> list[str]:
    store, dataset = stored
    data = replace(config.data, threads=threads)
    plan = Plan(dataset.table, 7, data.captions_per_batch, data.block_shards, data.held_out, data.cell_captions)
    loader = Loader(dataset, plan, ShardCache(store, 1 << 20), replace(config, data=data))
    found = [batch_sha256(batch.digests) for batch in loader.batches(0, 2)]
    loader.close()
    return found


def test_batches_are_the_same_in_both_forms_at_any_number_of_threads(write_dataset, every_term) -> None:
    pytest.importorskip("numba")
    store = MemoryStore()
    stored = store, load_dataset(store, [write_dataset(store)], views=4)
    fields = {"data.captions_per_batch": 12, **every_term, "augment.size": 24, "augment.blur_b": 0.5}
    plain = hashes(stored, resolve("tiny", fields), 1)
    for threads in (1, 4, 16):
        assert hashes(stored, resolve("tiny", {**fields, "data.cutting": "compiled"}), threads) == plain


def test_a_file_has_pillows_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    picture = Image.fromarray(pictures()[0])
    files = {}
    for mode, kind, more in (
        ("RGB", "JPEG", {"quality": 90}),
        ("RGB", "JPEG", {"quality": 90, "subsampling": 0, "progressive": True}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "WEBP", {}),
    ):
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, kind, **more)
        files[mode, kind, len(more)] = buffer.getvalue()
    whole = files["RGB", "JPEG", 1]
    spoiled = bytearray(whole)
    spoiled[-500:-440] = bytes(60)  # libjpeg warns of it and goes on
    files["damaged", "JPEG", 0] = bytes(spoiled)
    for name, data in files.items():
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(decode_image(data), np.asarray(image.convert("RGB"))), name
    for cut in (0, 30, len(whole) - 300):
        with pytest.raises((OSError, ValueError, SyntaxError)):
            decode_image(whole[:cut])


def test_without_numba_crops_are_cut_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "find_spec", lambda name: None)
    assert cutting.cutter("compiled") == cutting.cutter("plain")
