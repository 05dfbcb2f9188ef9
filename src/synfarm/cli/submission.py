"""What is wrong with a request, told as the command line has it: its options, its commands, its cures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from pydantic import ValidationError

    from synfarm.sdk import ApiError

__all__ = ["cures_of_the_command", "fault_in_words"]

_OPTIONS = {
    "captions": "--captions",
    "n": "--captions",
    "images_per_caption": "--images",
    "concept_draw": "--draw",
    "concept_set": "--set",
    "mix": "--mix",
    "variant": "--variant",
    "captions_from": "--captions-file",
    "captions_from.file": "--captions-file",
    "captions_from.job": "--captions-job",
    "templates": "--templates",
    "backgrounds": "--backgrounds",
    "examples": "--examples",
    "caption.layout": "--layout",
    "caption.examples_per_draw": "--examples-per-draw",
    "caption.temperature": "--temperature",
    "caption.top_p": "--top-p",
    "caption.max_new_tokens": "--max-new-tokens",
    "caption.min_words": "--min-words",
    "caption.max_words": "--max-words",
    "caption.max_redraws": "--max-redraws",
    "caption": "--max-words",
    "render.size": "--size",
    "render.render_size": "--render-size",
    "render.steps": "--steps",
    "render.guidance": "--guidance",
    "render.image_format": "--format",
    "render.quality": "--quality",
    "render.preset": "--preset",
    "render.guidance_until": "--guidance-until",
    "render.lora": "--lora",
    "render.clip_score": "--clip-score",
    "clip_score": "--clip-score",
    "render.nsfw_score": "--nsfw-score",
    "render.model": "--model",
    "render.revision": "--revision",
    "render.family": "--family",
    "render": "--renderer",
    "webhook.url": "--webhook",
    "webhook.secret": "--webhook-secret-file",
    "captions_per_unit": "--captions-per-unit",
    "error_budget": "--error-budget",
    "Idempotency-Key": "--idempotency-key",
    "cursor": "--cursor",
    "price_per_gpu_hour": "--price",
    "seed": "--seed",
    "name": "--name",
    "preset": "--preset",
    "ranks": "--ranks",
}
# In sentences about several fields, which name them.
_WORDS = (
    (re.compile(r"^templates: (concept_set|mix|variant|captions_from)\b"), r"--templates: --\1"),
    (re.compile(r"--concept_set\b|\bconcept_set\b"), "--set"),
    (re.compile(r"--captions_from|\bcaptions_from\b"), "captions that exist"),
    (re.compile(r"^(backgrounds|examples) "), r"--\1: they "),
    (re.compile(r"^concept_draw "), "--draw "),
    (re.compile(r"\b(min|max)_words\b"), r"--\1-words"),
    (re.compile(r"^the shares of (mix|templates) sum"), r"--\1: the shares sum"),
)
_COLLAGE = "`synfarm concepts show collage` lists what it draws; with a GPU `--renderer diffusers --model …` draws any."
_JOBS = "`synfarm jobs list` shows yours."
_SAMPLES = "`synfarm samples JOB` shows what there is."
_CURSOR = "Begin again without --cursor: each page tells the command for the next."
_CURES = {
    "unknown_concept": _COLLAGE,
    "backgrounds_missing": "Name some in --backgrounds FILE, or give c a share in --templates as well.",
    "pool_too_small": "Add examples to it, or keep ours beside yours: --examples-use extend.",
    "caption_file_missing": "`synfarm captions files` lists yours; `synfarm captions upload FILE` makes one.",
    "concept_set_ships": "`synfarm concepts list` marks the sets that are yours.",
    "too_many_concept_sets": "`synfarm concepts delete SET` frees a place: jobs made of it stay as they are.",
    "concept_set_not_found": "`synfarm concepts list` lists them.",
    "unknown_job": _JOBS,
    "job_not_found": _JOBS,
    "sample_not_found": _SAMPLES,
    "sample_not_ready": _SAMPLES,
    "sample_empty": _SAMPLES,
    "preset_not_found": "`synfarm runs presets` lists them.",
    "run_not_found": "`synfarm runs list` shows yours.",
    "cursor_invalid": _CURSOR,
    "cursor_expired": _CURSOR,
    "too_many_units": "Leave --captions-per-unit out, or make it larger.",
    "job_not_ended": "`synfarm jobs watch` follows it to its end.",
    "job_ended": "`synfarm jobs retry` tries its dead units again, `synfarm jobs extend` plans more captions.",
    "job_cancelled": "Make a new job.",
    "nothing_to_retry": "`synfarm jobs extend` plans more captions.",
    "generation_opening": "Wait for its end: `synfarm jobs watch` follows it.",
}


def _option(place: Sequence[str | int]) -> tuple[str | None, str]:
    """The option of a field, and what is left of the field's place below it."""
    parts = [str(part) for part in place]
    for end in range(len(parts), 0, -1):
        option = _OPTIONS.get(".".join(parts[:end]))
        if option is not None:
            # Names of types, by which a union tells its branches apart, are no part of what the user wrote.
            return option, ".".join(
                part for part in parts[end:] if not re.search(r"[\[({]|^(text|url|str|tuple)$", part)
            )
    return None, ".".join(parts)


def fault_in_words(error: ValidationError) -> str:
    """The first fault of a request, with the option that it came from."""
    from synfarm.contracts.wording import in_words

    first = error.errors()[0]
    fault = in_words(error)
    option, rest = _option(first["loc"])
    for pattern, by in _WORDS:
        fault = pattern.sub(by, fault)
    if fault.startswith("--"):
        return f"{fault}."
    named = ": ".join(filter(None, (option, rest)))
    return f"{named}: {fault}." if named else f"{fault}."


@contextmanager
def cures_of_the_command() -> Iterator[None]:
    """The API tells field and cure as a request has them; here they are told as this command has them.

    Raises:
        CommandFailed: the API refused the request, or has not what it names.
    """
    from synfarm.sdk import NotFound, Refused

    try:
        yield
    except (NotFound, Refused) as refusal:
        told = _in_words(refusal)
        if told is None:
            raise
        code = ExitCode.NOT_FOUND if isinstance(refusal, NotFound) else ExitCode.REFUSED
        raise CommandFailed(told, code) from refusal


def _in_words(refusal: ApiError) -> str | None:
    problem = refusal.problem
    # What was not found is named by an argument, whatever the request's field is called.
    option = None if problem.status == 404 else _option((problem.field or "").split("."))[0]
    if option is None and refusal.code not in _CURES:
        return None
    cure = _CURES.get(refusal.code, problem.hint or "")
    if refusal.code == "unknown_concept" and option == "--backgrounds":
        cure = problem.hint or ""
    fault = problem.detail.removeprefix("examples, ")
    return f"{option}: {fault} {cure}".rstrip() if option else f"{fault} {cure}"
