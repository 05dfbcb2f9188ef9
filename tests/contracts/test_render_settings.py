"""Render settings: presets, what they cost, and models that cannot leave their folder."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from synfarm.contracts.render_presets import PRESETS, PresetName, Sampler
from synfarm.contracts.render_settings import RenderSettings

MODEL: dict[str, Any] = {"renderer": "diffusers", "model": "hub/model", "family": "sd15", "render_size": 512}


def test_paper_is_the_default_and_the_preset_of_that_name() -> None:
    named = RenderSettings(**MODEL, preset="paper")
    assert named.model_copy(update={"preset": None}) == RenderSettings(**MODEL)
    assert (named.sampler, named.steps, named.guidance, named.guidance_until) == (Sampler.DDIM, 50, 2.5, 1.0)


@pytest.mark.parametrize(
    ("preset", "passes"), [("paper", 100), ("balanced", 50), ("fast", 35), ("turbo", 4), ("smoke", 4)]
)
def test_presets_and_their_passes(preset: str, passes: float) -> None:
    settings = RenderSettings(**MODEL, preset=preset)
    assert settings.network_passes == passes
    assert RenderSettings.from_bytes(settings.to_bytes()) == settings
    for field, value in PRESETS[PresetName(preset)].settings.items():
        assert getattr(settings, field) == value


def test_what_the_job_names_itself_wins() -> None:
    settings = RenderSettings(**MODEL, preset="balanced", steps=20)
    assert (settings.sampler, settings.steps) == (Sampler.DPMPP2M, 20)


def test_a_frozen_spec_does_not_change_with_the_table() -> None:
    """Every setting stands in the JSON, so a later version's preset does not reach an earlier job."""
    body = RenderSettings(**MODEL, preset="balanced").model_dump(mode="json")
    body["steps"] = 31
    assert RenderSettings.model_validate(body).steps == 31


@pytest.mark.parametrize("model", ["a/../../etc", "a//b", "a/./b", "../a", "/models/a"])
def test_models_do_not_leave_their_folder(model: str) -> None:
    with pytest.raises(ValidationError, match="model"):
        RenderSettings(**{**MODEL, "model": model})


@pytest.mark.parametrize(
    "more",
    [
        {"preset": "paper"},
        {"lora": {"model": "a/b"}},
        {"clip_score": {"model": "a/b"}},
        {"nsfw_score": {"model": "a/b"}},
    ],
)
def test_a_collage_has_no_model(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"'{next(iter(more))}' belongs to renderer 'diffusers'"):
        RenderSettings(**more)


def test_an_unknown_preset_names_those_that_there_are() -> None:
    with pytest.raises(ValidationError, match=r"paper.*balanced.*fast.*turbo.*smoke"):
        RenderSettings(**MODEL, preset="best")
