"""The form of a new job: its fields with the contract's own defaults, and the way from text to a request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.render_presets import PresetName
from synfarm.contracts.render_settings import RenderSettings
from synfarm_caption_api.web.form_problems import FormProblems, from_validation
from synfarm_caption_api.web.job_origin import ORIGIN_PLACES, origin_values, read_origin

__all__ = ["PLACES", "PRESET_CHOICES", "BadForm", "default_values", "fingerprint", "read_request"]

_FIELDS = {
    "name": "name",
    "captions": "captions",
    "images": "images_per_caption",
    "seed": "seed",
    "concept_draw": "concept_draw",
    "lane": "lane",
    "error_budget": "error_budget",
    "captions_per_unit": "captions_per_unit",
    "temperature": "caption.temperature",
    "max_new_tokens": "caption.max_new_tokens",
    "max_redraws": "caption.max_redraws",
    "examples_per_draw": "caption.examples_per_draw",
    "renderer": "render.renderer",
    "size": "render.size",
    "image_format": "render.image_format",
    "model": "render.model",
    "revision": "render.revision",
    "family": "render.family",
    "preset": "render.preset",
    "steps": "render.steps",
    "guidance": "render.guidance",
}
"""Form field to dotted name in the request; a field left empty takes the contract's default."""

_OF_PRESET = ("steps", "guidance")


def _preset_words(name: PresetName) -> str:
    drawn = RenderSettings(renderer="diffusers", model="any", family="any", preset=name)
    return f"{name.value}: {drawn.network_passes:g} passes"


PRESET_CHOICES: Mapping[str, str] = {"": "none: as paper", **{name.value: _preset_words(name) for name in PresetName}}
"""With what an image costs in passes through the network."""

PLACES: Mapping[str, str] = {
    **{dotted: field for field, dotted in _FIELDS.items()},
    **ORIGIN_PLACES,
    "render": "renderer",
    "caption": "temperature",
}
"""Dotted name to the form field that shows its errors."""

_WHOLE: Mapping[str, str] = {
    "the shares of templates": "templates",
    "the shares of mix": "mix_shares",
    "templates": "templates",
    "backgrounds": "backgrounds",
    "concept_draw": "concept_draw",
}
"""What concerns the whole request, by the word that it begins with: the form field that shows it."""


class BadForm(Exception):
    """The form cannot be made into a request."""

    def __init__(self, problems: FormProblems) -> None:
        super().__init__(", ".join(problems))
        self.problems = problems


def default_values() -> dict[str, str]:
    """Every field as text, as a fresh form shows it."""
    request = JobRequest.model_validate({"concepts": ["dog"], "captions": 240})
    body = request.model_dump(mode="json")
    values = {field: _text(_dig(body, dotted)) for field, dotted in _FIELDS.items()}
    # Left empty, so that a preset is not overruled by what nobody typed.
    values |= dict.fromkeys(_OF_PRESET, "")
    return {**values, **origin_values(), "tries": "1"}


def read_request(values: Mapping[str, str]) -> JobRequest:
    """The request that the form describes.

    Raises:
        BadForm: with the problem of each field that cannot be read.
    """
    body: dict[str, Any] = {}
    for field, dotted in _FIELDS.items():
        text = values.get(field, "").strip()
        if text:
            _plant(body, dotted, text)
    if body.get("render", {}).get("renderer") == "diffusers" and body["render"].get("family") == "collage":
        del body["render"]["family"]  # the default of the other renderer, not a wish
    origin, problems = read_origin(values)
    try:
        request = JobRequest.model_validate({**body, **origin})
    except ValidationError as error:
        raise BadForm({**from_validation(error, PLACES, _WHOLE), **problems}) from error
    if problems:
        raise BadForm(problems)
    return request


def fingerprint(request: JobRequest) -> str:
    """The same for forms that mean the same job."""
    return hashlib.sha256(request.to_bytes()).hexdigest()[:32]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _dig(body: Any, dotted: str) -> object:
    for part in dotted.split("."):
        body = body.get(part)  # what says nothing is left out
    return body


def _plant(body: dict[str, Any], dotted: str, value: str) -> None:
    *parents, last = dotted.split(".")
    for part in parents:
        body = body.setdefault(part, {})
    body[last] = value
