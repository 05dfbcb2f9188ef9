"""Draws all columns by turns, so that each sees the machine as the others do, and takes the time of each turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from synfarm.contracts.comparisons import ComparisonPlan
from synfarm_render_worker.encoding import resized
from synfarm_render_worker.renderer import ImageRequest, Pixels, Renderer, RendererFactory, image_seed

__all__ = ["Drawn", "draw", "requests_of"]

_ROUNDS = 4
_JOB = "compare"
"""Stands where a job's id goes into the seeds of its images."""


@dataclass(slots=True)
class Drawn:
    """What a column has drawn: captions x images, image by image, at the stored size."""

    versions: dict[str, str]
    load_seconds: float
    warm_up_seconds: float = 0.0
    images: list[Pixels] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    """Images of each round."""
    seconds: list[float] = field(default_factory=list)
    """Of each round."""


def requests_of(plan: ComparisonPlan) -> list[ImageRequest]:
    """Caption by caption, image by image; the seeds are those of every column."""
    return [
        ImageRequest(caption, image_seed(plan.seed, _JOB, index, k))
        for index, caption in enumerate(plan.captions)
        for k in range(plan.images)
    ]


def draw(
    plan: ComparisonPlan,
    make: RendererFactory,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.perf_counter,
) -> list[Drawn]:
    """Every column of the plan, in its order.

    Args:
        tell: takes a line of progress.

    Raises:
        UnitFault, EnvironmentFault: a column cannot be drawn.
    """
    renderers: list[Renderer] = []
    columns: list[Drawn] = []
    for column in plan.columns:
        tell(f"{column.name}: loading {column.render.model}")
        began = clock()
        renderers.append(make(column.render))
        columns.append(Drawn(dict(renderers[-1].versions), clock() - began))
    requests = requests_of(plan)
    size = _round_size(len(requests), max(renderer.batch_hint for renderer in renderers))
    for renderer, drawn in zip(renderers, columns, strict=True):
        # Of the shape of a round: what is compiled or allocated for it is there when the clock runs.
        began = clock()
        renderer.render(requests[:size])
        drawn.warm_up_seconds = clock() - began
    rounds = [requests[start : start + size] for start in range(0, len(requests), size)]
    for number, wanted in enumerate(rounds):
        told = []
        for place in _turn(len(columns), number):
            began = clock()
            images = renderers[place].render(wanted)
            seconds = clock() - began
            side = plan.columns[place].render.size
            columns[place].images += [resized(image.pixels, side) for image in images]
            columns[place].counts.append(len(images))
            columns[place].seconds.append(seconds)
            told.append(f"{plan.columns[place].name} {len(images) / seconds:.3g} img/s")
        tell(f"round {number + 1} of {len(rounds)}: {', '.join(told)}")
    return columns


def _round_size(images: int, batch: int) -> int:
    """Whole batches, as a farm draws them, in up to four rounds."""
    share = -(-images // _ROUNDS)
    return -(-share // batch) * batch


def _turn(columns: int, number: int) -> Sequence[int]:
    """Each column is first in its turn."""
    return [(place + number) % columns for place in range(columns)]
