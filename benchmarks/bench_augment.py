"""Crops per second of the augmentation: the reference form on one core beside the device form on CPU and GPU.

A crop is what an image of a batch gives; on 256-pixel images, global crops of 224 and local ones of 96 pixels.
On the CPU the device form runs on one thread in passes of few crops, where it is fastest, and is timed by this thread's
processor time, which other processes do not lengthen. On a GPU it is timed by the clock, after the same passes once
unmeasured, with and without the copy of images and table to the device.

The second table is the loader on stored JPEGs in both forms of ``execution.augment``: what an image with its five crops
costs the host, and the device after it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from loader_forms import host_and_device
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from synfarm.contracts.jobs import RenderSettings
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.renderer import ImageRequest
from synfarm_trainer.config import AugmentConfig
from synfarm_trainer.data.augment import CropParams, apply_crop, draw_params, local_augment
from synfarm_trainer.data.augment.device import apply_crops, cut, tabulate
from synfarm_trainer.data.cropids import CropIds
from synfarm_trainer.presets import resolve

_SIDE = 256
_CAPTIONS = ("a dog on a beach", "two red apples, in the forest", "a guitar on a city street at night", "a huge fox")
_FAMILIES = ("synclr-release", "paper", "stablerep", "dinov2")


def pictures(count: int) -> NDArray[np.uint8]:
    """(count, side, side, 3)"""
    collage = CollageRenderer(RenderSettings(size=_SIDE))
    renders = collage.render([ImageRequest(caption, seed) for seed in range(2) for caption in _CAPTIONS])
    some = np.stack([np.asarray(render.pixels) for render in renders])
    return some[np.arange(count) % len(some)]


def draw(config: AugmentConfig, images: int, crops: range) -> CropParams:
    place = np.arange(images, dtype=np.int64)
    return draw_params(config, 0, 0, CropIds.of(place * 0, place // 4, place % 4, crops))


def on_one_core(images: NDArray[np.uint8], size: int, params: CropParams) -> float:
    """Crops per second of the reference form, images decoded already."""
    each, decoded = len(params) // len(images), [Image.fromarray(image) for image in images]
    began = time.thread_time()
    for n in range(len(params)):
        apply_crop(decoded[n // each], size, params, n)
    return len(params) / (time.thread_time() - began)


def on_cpu(images: NDArray[np.uint8], config: AugmentConfig, crops: range, at_once: int) -> float:
    """Crops per second of the device form, with drawing and table."""
    parts = [torch.from_numpy(images[start : start + at_once]) for start in range(0, len(images), at_once)]
    apply_crops(parts[0], draw(config, len(parts[0]), crops), config.size)
    began = time.thread_time()
    for part in parts:
        apply_crops(part, draw(config, len(part), crops), config.size)
    return len(images) * len(crops) / (time.thread_time() - began)


def _clocked(passes: int, work: Callable[[], object]) -> float:
    """Seconds of one pass on the GPU, the queue emptied before and after; the first three passes do not count."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(passes):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / passes


def on_gpu(
    images: NDArray[np.uint8], config: AugmentConfig, crops: range, *, compiled: bool, passes: int = 20
) -> tuple[float, float]:
    """Crops per second: images and table on the GPU already; and from pinned host memory, drawing included."""
    made = len(images) * len(crops)
    params = draw(config, len(images), crops)
    host = torch.from_numpy(images).pin_memory()
    there, table = host.cuda(), torch.from_numpy(tabulate(params, _SIDE, _SIDE)).cuda()
    work: Callable[..., torch.Tensor] = torch.compile(cut, fullgraph=True) if compiled else cut

    def whole() -> torch.Tensor:
        drawn = draw(config, len(images), crops)
        told = torch.from_numpy(tabulate(drawn, _SIDE, _SIDE)).pin_memory()
        return work(host.to("cuda", non_blocking=True), told.to("cuda", non_blocking=True), config.size, drawn.filters)

    alone = _clocked(passes, lambda: work(there, table, config.size, params.filters))
    return made / alone, made / _clocked(passes, whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64, help="images a family on the CPU")
    parser.add_argument("--at-once", type=int, default=2, help="images in a pass of the device form on the CPU")
    parser.add_argument("--gpu-images", type=int, default=256, help="images in a pass on the GPU")
    parser.add_argument("--compile", action="store_true", help="also compiled, on the GPU (minutes)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = pictures(arguments.images)
    gpu = torch.cuda.is_available()
    columns = ["family", "crops", "reference /s", "device form, CPU /s", "ratio"]
    if gpu:
        columns += ["GPU /s", "with copies /s"]
        columns += ["compiled /s", "with copies /s"] if arguments.compile else []
    table = Table(*columns)
    for name in _FAMILIES:
        run = resolve("vit-b16", {"augment.name": name})
        kinds = (("224", run.augment, range(1)), ("4 x 96", local_augment(run.augment, run.local_crops), range(1, 5)))
        for label, config, crops in kinds:
            reference = on_one_core(images, config.size, draw(config, len(images), crops))
            device = on_cpu(images, config, crops, arguments.at_once)
            row = [reference, device]
            cells = [name, label, *(f"{value:,.0f}" for value in row), f"{device / reference:.2f}"]
            if gpu:
                many = pictures(arguments.gpu_images)
                for compiled in (False, True) if arguments.compile else (False,):
                    cells += [f"{value:,.0f}" for value in on_gpu(many, config, crops, compiled=compiled)]
            table.add_row(*cells)
    Console().print(table)
    forms = Table("execution.augment", "host, ms an image", f"cutting on the {'GPU' if gpu else 'CPU'}, ms an image")
    for form, host, cutting in host_and_device(pictures(2 * arguments.images)):
        forms.add_row(form, f"{host:.2f}", f"{cutting:.2f}" if cutting else "")
    Console().print(forms)
    if not gpu:
        Console().print("no GPU here: the device form was timed on one CPU thread alone")


if __name__ == "__main__":
    main()
