"""Scores by a CLIP model and a safety checker, on tiny random ones: what they are, whatever is scored beside them."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from synfarm.contracts.render_settings import ModelRef
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.renderer import Pixels
from synfarm_render_worker.scoring.scorer import FakeScorer, Scorer, row_scores
from synfarm_render_worker.scoring.shelf import make_scorer
from synfarm_render_worker.settings import RenderWorkerSettings

CAPTIONS = ["a dog", "two red cars", "a dog"]


def images(count: int = 3, side: int = 32) -> list[Pixels]:
    draws = np.random.default_rng(0)
    return [draws.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture
def make(score_models: Path) -> Any:
    torch.set_num_threads(1)
    settings = RenderWorkerSettings(models=score_models, device="cpu")
    return lambda name, model="clip", **more: make_scorer(name, ModelRef(model=model, **more), settings)


def test_clip_is_the_cosine_of_text_and_image(score_models: Path, make: Any) -> None:
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    folder = score_models / "clip"
    model, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images(), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        for found, caption, image in zip(make("clip").score(CAPTIONS, images()), CAPTIONS, pixels, strict=True):
            tokens = tokenizer(caption, return_tensors="pt")
            answer = model(**tokens, pixel_values=image[None])
            wanted = torch.cosine_similarity(answer.image_embeds, answer.text_embeds)
            assert found == {"clip": pytest.approx(float(wanted), abs=1e-5)}


def test_neither_neighbours_nor_what_follows_the_limit_change_a_score(make: Any) -> None:
    scorer = make("clip")
    together = scorer.score(CAPTIONS, images())
    alone = [scorer.score([caption], [image])[0] for caption, image in zip(CAPTIONS, images(), strict=True)]
    assert [s["clip"] for s in together] == pytest.approx([s["clip"] for s in alone], abs=1e-5)
    long = "a b c d e f g h i j k l m n o p"
    (cut,), (short,) = scorer.score([long], images(1)), scorer.score([long[:19]], images(1))
    assert cut["clip"] == pytest.approx(short["clip"], abs=1e-6)
    many = scorer.score(["a dog"] * 40, images(1) * 40)
    assert len(many) == 40


@pytest.mark.parametrize("model", ["checker", "pipeline"])
def test_nsfw_is_how_far_an_image_is_above_a_threshold(score_models: Path, make: Any, model: str) -> None:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessorPil

    before = [image.copy() for image in images(8)]
    found = [scores["nsfw"] for scores in make("nsfw", model).score(["a"] * 8, before)]
    checker = StableDiffusionSafetyChecker.from_pretrained(score_models / "checker")
    checker.special_care_embeds_weights.data.fill_(2.0)  # never near: its thresholds stay as they are
    middle = statistics.median(found)
    checker.concept_embeds_weights.data += middle  # so that it hides half of them
    pixels = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})(
        before, return_tensors="pt"
    )["pixel_values"]
    _, hidden = checker(clip_input=pixels, images=np.stack(before))
    assert [score > middle for score in found] == hidden
    assert set(hidden) == {True, False}
    assert all(np.array_equal(a, b) for a, b in zip(before, images(8), strict=True)), "nothing is blackened"


def test_what_cannot_be_loaded_is_told(make: Any, score_models: Path, tmp_path: Path) -> None:
    with pytest.raises(UnitFault, match=r"render\.clip_score\.revision: pin 'a/b'"):
        make_scorer("clip", ModelRef(model="a/b"), RenderWorkerSettings(models=None))
    broken = shutil.copytree(score_models / "checker", tmp_path / "other")
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    with pytest.raises(EnvironmentFault, match=r"render\.nsfw_score\.model: 'other' cannot be loaded as a safety"):
        make_scorer("nsfw", ModelRef(model="other"), RenderWorkerSettings(models=tmp_path))
    with pytest.raises(
        EnvironmentFault, match=r"render\.clip_score\.model: 'pipeline' cannot be loaded as a CLIP model"
    ):
        make("clip", "pipeline")


def test_a_score_that_is_no_number_is_a_fault_of_the_unit(make: Any) -> None:
    scorer = make("clip")
    with torch.no_grad():
        scorer._model.visual_projection.weight.fill_(float("nan"))
    with pytest.raises(UnitFault, match=r"render\.clip_score: a score is not finite"):
        scorer.score(CAPTIONS, images())


def test_a_row_keeps_mean_and_least_of_clip_and_the_largest_of_nsfw() -> None:
    rows = [{"clip": 0.3, "nsfw": -0.2}, {"clip": 0.1, "nsfw": 0.05}]
    assert row_scores(rows) == {"clip": 0.2, "clip_min": 0.1, "nsfw": 0.05}
    assert row_scores([{}, {}]) == {}


def test_the_fake_scores_by_brightness() -> None:
    fake: Scorer = FakeScorer()
    white = np.asarray(Image.new("RGB", (4, 4), "white"))
    assert fake.score(["a", "b"], [white, white * 0]) == [{"clip": 1.0}, {"clip": 0.0}]
