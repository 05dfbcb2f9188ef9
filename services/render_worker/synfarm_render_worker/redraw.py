"""``python -m synfarm_render_worker.redraw``: draws one image again from its sample, to prove where it is from."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synfarm.contracts.commits import SampleMeta
from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm.whole_file import write_whole
from synfarm_render_worker.encoding import encode, resized
from synfarm_render_worker.renderer import ImageRequest, RendererFactory
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.shelf import RendererShelf

__all__ = ["BadSample", "Redrawn", "main", "redraw"]

_EPILOG = """exit codes: 0 drawn; 2 the sample or an argument is bad; 3 versions differ and --strict was given;
4 the renderer cannot draw it here"""


class BadSample(ValueError):
    """The JSON is no sample, or has no such image; the message says what to give instead."""


@dataclass(frozen=True, slots=True)
class Redrawn:
    """The image's bytes, and in what the versions differ from those that drew it first."""

    data: bytes
    differences: Mapping[str, tuple[str, str]]
    """By package: (then, now); 'none' where it is missing."""
    exact: bool
    """Whether the renderer promises equal bytes for equal versions: collage does, diffusion to rounding only."""


def read_sample(text: str) -> SampleMeta:
    """The sample of a shard's ``<caption_id>.json``, or of the answer of ``GET /v1/jobs/{job}/samples/{caption_id}``.

    Raises:
        BadSample: it is neither.
    """
    try:
        body: Any = json.loads(text)
    except ValueError as error:
        raise BadSample(f"the sample is not JSON ({error}); give the <caption_id>.json of a shard") from error
    if isinstance(body, dict) and isinstance(body.get("meta"), dict):
        body = body["meta"]
    try:
        return SampleMeta.model_validate_json(json.dumps(body))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BadSample(
            f"the sample is not one of synfarm's: {place}: {first['msg']}; give the <caption_id>.json of a shard"
        ) from error


def redraw(meta: SampleMeta, k: int, make: RendererFactory) -> Redrawn:
    """Image ``k`` of the sample, encoded as it was.

    Nothing goes in but the caption, the seed and the settings: the concept that the caption was asked for does not.

    Raises:
        BadSample: there is no image ``k``, or the settings are of no renderer that there is.
        UnitFault, EnvironmentFault: it cannot be drawn.
    """
    if not 0 <= k < len(meta.seeds):
        raise BadSample(f"{meta.caption_id} has images 0 to {len(meta.seeds) - 1}, not {k}")
    settings = _settings(meta)
    renderer = make(settings)
    pixels = renderer.render([ImageRequest(meta.caption, meta.seeds[k])])[0].pixels
    now = renderer.versions
    differences = {
        name: (meta.versions.get(name, "none"), now.get(name, "none"))
        for name in sorted({*meta.versions, *now})
        if meta.versions.get(name) != now.get(name)
    }
    pixels = resized(pixels, settings.size)
    return Redrawn(encode(pixels, settings.image_format, meta.quality), differences, meta.renderer == "collage")


def _settings(meta: SampleMeta) -> RenderSettings:
    diffusion = meta.renderer == "diffusers"
    chosen: dict[str, object] = {
        "sampler": meta.sampler,
        "steps": meta.steps,
        "guidance": meta.guidance,
        "guidance_until": meta.guidance_until,
        "lora": meta.lora,
    }
    try:
        return RenderSettings.model_validate(
            {
                "renderer": meta.renderer,
                "model": meta.model,
                "revision": meta.revision,
                # The family names a queue, which nothing is taken from here.
                "family": "redraw" if diffusion else "collage",
                "size": meta.size,
                "render_size": meta.render_size if diffusion else None,
                "image_format": meta.image_format,
                "quality": meta.quality,
                **{name: value for name, value in chosen.items() if value is not None},
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadSample(f"the sample's settings are of no renderer of this version: {place}: {first['msg']}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m synfarm_render_worker.redraw", description=__doc__, epilog=_EPILOG)
    parser.add_argument("sample", help="the sample's JSON, or - for standard input")
    parser.add_argument("--image", type=int, default=0, metavar="K", help="which of the sample's images (default: 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write it")
    parser.add_argument("--strict", action="store_true", help="write nothing when the versions differ")
    arguments = parser.parse_args(argv)
    try:
        text = sys.stdin.read() if arguments.sample == "-" else Path(arguments.sample).read_text(encoding="utf-8")
        # One image is worth neither a tuning nor a compilation.
        settings = RenderWorkerSettings().model_copy(update={"batch": 1, "compile": "off"})
        drawn = redraw(read_sample(text), arguments.image, RendererShelf(settings))
    except (OSError, UnicodeDecodeError, BadSample) as error:
        return _fail(2, error)
    except (UnitFault, EnvironmentFault, LookupError) as error:
        return _fail(4, error)
    if drawn.differences:
        told = ", ".join(f"{name} {then} then, {now} now" for name, (then, now) in drawn.differences.items())
        sys.stderr.write(f"redraw: other versions drew it: {told}; the bytes may differ\n")
        if arguments.strict:
            return _fail(3, "nothing written (--strict)")
    elif not drawn.exact:
        sys.stderr.write("redraw: a diffusion model repeats itself to rounding only; the bytes may differ\n")
    try:
        write_whole(arguments.out, drawn.data)
    except OSError as error:
        return _fail(2, f"--out: {error}")
    return 0


def _fail(code: int, reason: object) -> int:
    sys.stderr.write(f"redraw: {reason}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
