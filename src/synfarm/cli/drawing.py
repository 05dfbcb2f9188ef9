"""Options that say how a job's images are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.option_groups import OptionGroup

__all__ = ["Drawing", "Format", "Preset", "Renderer", "Sampler", "model_of"]

Renderer = Literal["collage", "diffusers"]
Preset = Literal["paper", "balanced", "fast", "turbo", "smoke"]
Sampler = Literal["ddim", "dpmpp2m", "lcm", "euler", "model"]
Format = Literal["jpg", "webp"]
"""As the contract has them, which is loaded only when a request is made."""

_PANEL = "Images"
_DIFFUSERS = ("model", "revision", "family", "preset", "render_size", "steps", "guidance", "guidance_until", "sampler")
_MODELS = ("lora", "clip_score", "nsfw_score")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing(OptionGroup):
    images: Annotated[int, typer.Option(min=1, max=64, help="Images a caption.", rich_help_panel=_PANEL)] = 4
    size: Annotated[int, typer.Option(min=32, max=2048, help="Side of an image in pixels.", rich_help_panel=_PANEL)] = (
        256
    )
    image_format: Annotated[
        Format | None, typer.Option("--format", help="Of the files; jpg unless told.", rich_help_panel=_PANEL)
    ] = None
    quality: Annotated[
        int | None, typer.Option(help="Of the files, 1 to 100; 95 unless told.", rich_help_panel=_PANEL)
    ] = None
    renderer: Annotated[Renderer, typer.Option(help="What draws the images.", rich_help_panel=_PANEL)] = "collage"
    model: Annotated[
        str | None, typer.Option(help="diffusers: the model's hub id or folder.", rich_help_panel=_PANEL)
    ] = None
    revision: Annotated[str | None, typer.Option(help="diffusers: its revision.", rich_help_panel=_PANEL)] = None
    family: Annotated[
        str | None, typer.Option(help="diffusers: its family, for example sd15.", rich_help_panel=_PANEL)
    ] = None
    render_size: Annotated[
        int | None,
        typer.Option(help="diffusers: side at which it draws; as --size unless told.", rich_help_panel=_PANEL),
    ] = None
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="diffusers: sampler, steps and guidance by one word; paper unless told.", rich_help_panel=_PANEL
        ),
    ] = None
    steps: Annotated[int | None, typer.Option(help="diffusers: 50 unless told.", rich_help_panel=_PANEL)] = None
    guidance: Annotated[float | None, typer.Option(help="diffusers: 2.5 unless told.", rich_help_panel=_PANEL)] = None
    guidance_until: Annotated[
        float | None,
        typer.Option(help="diffusers: share of the steps that are guided; 1 unless told.", rich_help_panel=_PANEL),
    ] = None
    sampler: Annotated[Sampler | None, typer.Option(help="diffusers: ddim unless told.", rich_help_panel=_PANEL)] = None
    lora: Annotated[
        str | None, typer.Option(help="diffusers: MODEL\\[@REVISION] of low-rank weights.", rich_help_panel=_PANEL)
    ] = None
    lora_scale: Annotated[float | None, typer.Option(help="Of --lora; 1 unless told.", rich_help_panel=_PANEL)] = None
    clip_score: Annotated[
        str | None,
        typer.Option(
            help="diffusers: MODEL\\[@REVISION] of a CLIP model that scores image against caption.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    nsfw_score: Annotated[
        str | None,
        typer.Option(
            help="diffusers: MODEL\\[@REVISION] of a safety checker; its scores are kept, no image is left out.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def body(self) -> dict[str, Any]:
        """The field ``render`` of a request.

        Raises:
            CommandFailed: an option does not go with the renderer.
        """
        named = {name: getattr(self, name) for name in _DIFFUSERS}
        told = {name: value for name, value in named.items() if value is not None}
        models = {name: getattr(self, name) for name in _MODELS}
        told |= {name: model_of(given) for name, given in models.items() if given is not None}
        if self.lora_scale is not None:
            if self.lora is None:
                raise CommandFailed("--lora-scale goes with --lora MODEL.", ExitCode.REFUSED)
            told["lora"]["scale"] = self.lora_scale
        if self.renderer == "collage" and told:
            option = next(iter(told)).replace("_", "-")
            raise CommandFailed(f"--{option} belongs to --renderer diffusers.", ExitCode.REFUSED)
        files = {"image_format": self.image_format, "quality": self.quality}
        told |= {name: value for name, value in files.items() if value is not None}
        return {"renderer": self.renderer, "size": self.size, **told}


def model_of(given: str) -> dict[str, Any]:
    """``MODEL[@REVISION]`` as the contract has it."""
    model, at, revision = given.partition("@")
    return {"model": model, "revision": revision} if at else {"model": model}
