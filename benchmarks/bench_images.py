"""Images per second of the render worker's parts on one core: collage by size, encoding by format."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice, product
from typing import Literal

from rich.console import Console
from rich.table import Table

from synfarm.concepts import load
from synfarm.contracts.jobs import RenderSettings
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.encoding import encode
from synfarm_render_worker.renderer import ImageRequest, Pixels

_FRAMES = (
    "a {} on a beach",
    "two red {}, in the forest",
    "a small {} on a city street at night",
    "a {} behind a tree",
    "a huge {} in the kitchen",
)


def rate(count: int, work: Callable[[], object]) -> float:
    """``count`` per second of this thread's processor time, which other processes do not lengthen."""
    began = time.thread_time()
    work()
    return count / (time.thread_time() - began)


def encoded(images: Sequence[Pixels], image_format: Literal["jpg", "webp"]) -> list[bytes]:
    return [encode(pixels, image_format, 95) for pixels in images]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=960, help="images a size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    arguments = parser.parse_args()
    captions = [frame.format(concept.name) for frame, concept in product(_FRAMES, load("demo"))]
    requests = [ImageRequest(c, 10 * i + k) for k in range(64) for i, c in enumerate(captions)]
    requests = list(islice(requests, arguments.images))
    table = Table("size", "first pass img/s", "artwork kept img/s", "jpg img/s", "webp img/s")
    for size in arguments.sizes:
        collage = CollageRenderer(RenderSettings(size=size))
        cold = rate(len(requests), partial(collage.render, requests))
        warm = rate(len(requests), partial(collage.render, requests))
        pixels = [image.pixels for image in collage.render(requests[:200])]
        jpg = rate(200, partial(encoded, pixels, "jpg"))
        webp = rate(200, partial(encoded, pixels, "webp"))
        table.add_row(str(size), *(f"{value:.0f}" for value in (cold, warm, jpg, webp)))
    Console().print(table)


if __name__ == "__main__":
    main()
