"""A job request from the command line's options, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from pydantic import ValidationError

    from synfarm.contracts.jobs import Concept, JobRequest

__all__ = ["Draw", "LaneName", "Renderer", "cures_of_the_command", "fault_in_words", "job_request"]

_CAPTIONS_A_CONCEPT = 10
_CURE = "`synfarm concepts show collage` lists what it draws; with a GPU `--renderer diffusers --model …` draws any."


Renderer = Literal["collage", "diffusers"]
Draw = Literal["uniform", "balanced"]
LaneName = Literal["high", "normal", "low"]
"""As the contract has them, which is loaded only when a request is made: `--help` and completion stay quick."""

_OPTIONS = {
    "captions": "--captions",
    "images_per_caption": "--images",
    "render.size": "--size",
    "render.model": "--model",
    "render.revision": "--revision",
    "render.family": "--family",
    "render": "--renderer",
    "seed": "--seed",
    "name": "--name",
    "preset": "--preset",
    "ranks": "--ranks",
}


def fault_in_words(error: ValidationError) -> str:
    """The first fault of a request, with the option that it came from."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    fault = first["msg"].removeprefix("Value error, ")
    named = _OPTIONS.get(place, place)
    return f"{named}: {fault}." if named else f"{fault}."


@contextmanager
def cures_of_the_command() -> Iterator[None]:
    """The API tells the cure as a request has it; here it is told as this command has it.

    Raises:
        CommandFailed: the renderer cannot draw a concept.
    """
    from synfarm.sdk import Refused

    try:
        yield
    except Refused as refusal:
        if refusal.code != "unknown_concept":
            raise
        raise CommandFailed(f"{refusal.problem.detail} {_CURE}", ExitCode.REFUSED) from refusal


def job_request(
    concepts: Sequence[Concept],
    *,
    captions: int | None,
    images: int,
    size: int,
    draw: Draw,
    renderer: Renderer,
    model: str | None,
    revision: str | None,
    family: str | None,
    seed: int,
    name: str,
    lane: LaneName,
) -> JobRequest:
    """The request; without ``captions`` ten for each concept.

    Raises:
        CommandFailed: an option's value cannot be used.
    """
    from pydantic import ValidationError

    from synfarm.contracts.jobs import JobRequest

    named = {"model": model, "revision": revision, "family": family}
    if renderer == "collage" and any(named.values()):
        option = next(option for option, value in named.items() if value)
        raise CommandFailed(f"--{option} belongs to --renderer diffusers.", ExitCode.REFUSED)
    render: dict[str, Any] = {"renderer": renderer, "size": size}
    render.update({option: value for option, value in named.items() if value})
    try:
        return JobRequest.model_validate(
            {
                "name": name,
                "concepts": [concept.model_dump() for concept in concepts],
                "concept_draw": draw,
                "captions": captions or _CAPTIONS_A_CONCEPT * len(concepts),
                "images_per_caption": images,
                "seed": seed,
                "render": render,
                "lane": lane,
            }
        )
    except ValidationError as error:
        raise CommandFailed(fault_in_words(error), ExitCode.REFUSED) from error
