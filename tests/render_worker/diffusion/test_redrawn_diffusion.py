"""An image of a diffusion model is drawn again from its sample, to rounding, whatever settings it was drawn with."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.commits import SampleMeta
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm_render_worker.drawing import EncodedImage
from synfarm_render_worker.encoding import encode, resized
from synfarm_render_worker.packing import DrawnBy, pack
from synfarm_render_worker.redraw import redraw
from synfarm_render_worker.renderer import ImageRequest, image_seed
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.shelf import RendererShelf

JOB = "01jd00000000000000000000aa"
CAPTION = "a red fox"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own, in its solver
@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("sd", {}),
        ("sd", {"sampler": "dpmpp2m", "steps": 5, "guidance_until": 0.4}),
        ("sd", {"size": 32, "render_size": 64, "image_format": "webp"}),
        ("sdxl", {}),
        ("flux", {}),
    ],
)
def test_one_image_alone_is_the_one_of_the_batch(
    render_settings: Callable[..., Any], models: Path, family: str, changes: dict[str, Any]
) -> None:
    spec = JobSpec(
        job=JOB,
        owner="me",
        created_at="2026-01-01T00:00:00Z",
        concepts=(Concept(name="fox"),),
        captions=9,
        captions_per_unit=9,
        seed=4,
        render=render_settings(family, **changes),
    )
    record = CaptionRecord(
        caption_id=caption_id(JOB, 7), index=7, concept="fox", text=CAPTION, draws=1, llm_seed=0, llm_model="m"
    )
    settings = RenderWorkerSettings(models=models, device="cpu", dtype="float32", compile="off")
    renderer = RendererShelf(settings)(spec.render)
    requests = [ImageRequest(CAPTION, image_seed(spec.seed, JOB, 7, k)) for k in range(4)]
    pixels = [resized(image.pixels, spec.render.size) for image in renderer.render(requests)]
    drawn = [
        EncodedImage(asked.seed, encode(one, spec.render.image_format, 95), None)
        for asked, one in zip(requests, pixels, strict=True)
    ]
    shard = pack(spec, [record], [drawn], DrawnBy.of(renderer))
    *images, meta = (shard.data[m.offset : m.offset + m.length] for m in shard.groups[0].members)
    again = redraw(SampleMeta.from_bytes(meta), 2, RendererShelf(settings))
    assert (again.exact, dict(again.differences)) == (False, {})
    first, second, other = (
        np.asarray(Image.open(io.BytesIO(data)), dtype=np.int16) for data in (images[2], again.data, images[1])
    )
    assert np.abs(first - second).max() <= 4, "a rounded grey level, and what JPEG makes of it"
    assert np.abs(first - other).mean() > 4 * max(0.5, np.abs(first - second).mean())
