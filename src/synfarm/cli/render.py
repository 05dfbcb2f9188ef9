"""`synfarm render`: what diffusion renders cost and look like, before a farm makes many."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from synfarm.cli.columns import planned_columns
from synfarm.cli.comparison_child import run_comparison
from synfarm.cli.comparison_tables import print_comparison
from synfarm.cli.concept_source import FileKind, read_text
from synfarm.cli.drawing import Renderer, model_of
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.model_folder import check_model
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import fault_in_words

__all__ = ["app"]

_DRAWER = "synfarm_render_worker"
_CAPTIONS = FileKind("captions", "write one caption a line", 8 << 20)

app = typer.Typer(no_args_is_help=True, help="Compare presets of diffusion renders.")


@app.callback()
def _group() -> None:
    """Compare presets of diffusion renders."""


@app.command()
def compare(
    file: Annotated[Path, typer.Argument(metavar="CAPTIONS", help="Captions, one a line; - for stdin.")],
    model: Annotated[str, typer.Option("--model", help="Hub id, or a folder below --models.")],
    out: Annotated[
        Path, typer.Option("--output", "--out", "-o", metavar="DIR", help="Gets compare.json and compare.webp.")
    ],
    presets: Annotated[
        list[str],
        typer.Option(
            "--preset",
            help="paper, balanced, fast, turbo or smoke, or NAME=PRESET; twice at least. The first is the measure.",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PRESET.FIELD=VALUE",
            help="Of one of them: steps, guidance, guidance_until, sampler, render_size, model, revision, lora.",
        ),
    ] = None,
    captions: Annotated[int, typer.Option(min=1, max=1000, help="So many of the file, from its start.")] = 16,
    images: Annotated[int, typer.Option(min=2, max=16, help="Images a caption.")] = 2,
    size: Annotated[int, typer.Option(min=32, max=2048, help="Side of an image in pixels.")] = 256,
    render_size: Annotated[
        int | None, typer.Option(help="Side at which the model draws; as --size unless told.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all images.")] = 0,
    revision: Annotated[str | None, typer.Option(help="The model's revision; needless for a folder.")] = None,
    models: Annotated[
        Path | None,
        typer.Option(envvar="SYNFARM_RENDER_MODELS", metavar="DIR", help="Folder of models, as the workers have it."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A timm model whose features tell images apart; else EfficientNet-Lite0."),
    ] = None,
    clip_score: Annotated[
        str | None, typer.Option(help="MODEL\\[@REVISION] of a CLIP model that scores image against caption.")
    ] = None,
    renderer: Annotated[Renderer, typer.Option(help="diffusers alone.")] = "diffusers",
    as_json: Json = False,
) -> None:
    """Draw the same captions by several presets, here: speed of each, distances of the images, a picture.

    The models are loaded in a process of its own, all presets at once, and take turns; the farm is not asked.
    """
    if renderer == "collage":
        raise CommandFailed(
            "--renderer: collage has no model, and so no presets to compare; leave it out.", ExitCode.REFUSED
        )
    from pydantic import ValidationError

    from synfarm.contracts.comparisons import Comparison, ComparisonPlan

    lines = _captions(file, captions)
    columns = planned_columns(
        presets,
        overrides or (),
        {"model": model, "revision": revision, "size": size, "render_size": render_size},
    )
    try:
        plan = ComparisonPlan(
            captions=lines,
            columns=columns,
            images=images,
            seed=seed,
            features=None if features is None else str(features.resolve()),
            clip_score=None if clip_score is None else model_of(clip_score),
        )
    except ValidationError as error:
        raise CommandFailed(fault_in_words(error), ExitCode.REFUSED) from error
    for column in columns:
        check_model(column.render, models)
    if find_spec(_DRAWER) is None:
        raise CommandFailed(
            "drawing needs the render worker's packages: pip install 'synfarm[render-worker,diffusers]'.",
            ExitCode.REFUSED,
        )
    _make_room(out)
    run_comparison(f"{_DRAWER}.compare", plan, out, models, lambda line: say(errors(), line))
    found = Comparison.from_bytes((out / "compare.json").read_bytes())
    if as_json:
        write_json(found)
        return
    print_comparison(output(), found)
    say(output(), f"\n{out / 'compare.webp'}\n{out / 'compare.json'}")


def _captions(file: Path, most: int) -> tuple[str, ...]:
    lines = [" ".join(line.split()) for line in read_text(file, _CAPTIONS).splitlines()]
    return tuple(line for line in lines if line)[:most]


def _make_room(out: Path) -> None:
    """Before minutes of drawing, not after them."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"--output {out}: {error.strerror}.", ExitCode.REFUSED) from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise CommandFailed(f"--output {out}: nothing can be written there.", ExitCode.REFUSED)
