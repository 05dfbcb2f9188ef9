"""Scorers stay between jobs that ask for them, and a unit's commit has the scores in its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.contracts.render_settings import ModelRef, RenderSettings
from synfarm.queue.unit import EnvironmentFault
from synfarm_render_worker.drawing import EncodedImage
from synfarm_render_worker.packing import DrawnBy, pack
from synfarm_render_worker.renderer import FakeRenderer, ImageRequest, Pixels, Step
from synfarm_render_worker.scoring.scorer import FakeScorer, Scorer
from synfarm_render_worker.scoring.scoring_renderer import ScoringRenderer
from synfarm_render_worker.scoring.shelf import ScorerShelf, with_scores

JOB = "01jd00000000000000000000aa"
CLIP, NSFW = ModelRef(model="clip"), ModelRef(model="checker")


def settings(clip: ModelRef | None = None, nsfw: ModelRef | None = None) -> RenderSettings:
    return RenderSettings(renderer="diffusers", model="m", family="tiny", size=32, clip_score=clip, nsfw_score=nsfw)


@pytest.fixture
def made() -> list[str]:
    return []


@pytest.fixture
def shelf(made: list[str]) -> ScorerShelf:
    def make(name: str, ref: ModelRef) -> Scorer:
        made.append(f"{name} {ref.model}")
        return FakeScorer(name)

    return ScorerShelf(make)


def test_models_are_loaded_once_and_let_go_when_a_job_does_not_ask(shelf: ScorerShelf, made: list[str]) -> None:
    first = shelf(settings(CLIP, NSFW))
    assert shelf(settings(CLIP, NSFW)) == first
    assert made == ["clip clip", "nsfw checker"]
    shelf.free(settings(CLIP))
    assert shelf(settings(CLIP)) == first[:1]
    shelf.free(settings())
    assert shelf(settings()) == []
    shelf(settings(CLIP))
    assert made == ["clip clip", "nsfw checker", "clip clip"]


def test_models_of_the_last_job_are_gone_before_the_next_one_loads_whoever_holds_them(made: list[str]) -> None:
    class Heavy(FakeScorer):
        def release(self) -> None:
            made.append("released")

    def load(render: RenderSettings, step: Step) -> FakeRenderer:
        made.append("loaded")
        return FakeRenderer(name="diffusers")

    make = with_scores(load, ScorerShelf(lambda name, ref: Heavy(name)))
    held = make(settings(CLIP))
    make(settings())
    assert held is not None
    assert made == ["loaded", "released", "loaded"]


def test_no_memory_left_to_score_is_no_unit_s_fault() -> None:
    class Full(FakeScorer):
        def score(self, captions: Sequence[str], images: Sequence[Pixels]) -> list[dict[str, float]]:
            raise RuntimeError("CUDA error: out of memory")

    renderer = ScoringRenderer(FakeRenderer(), [Full()])
    with pytest.raises(EnvironmentFault, match="SYNFARM_RENDER_BATCH"):
        renderer.render([ImageRequest("a dog", 1)])


def test_a_job_without_scores_gets_the_renderer_itself(shelf: ScorerShelf) -> None:
    renderer = FakeRenderer()
    make = with_scores(lambda _, step: renderer, shelf)
    assert make(settings()) is renderer
    assert isinstance(make(settings(CLIP)), ScoringRenderer)


def test_scores_go_with_their_images_into_the_row(shelf: ScorerShelf) -> None:
    renderer = with_scores(lambda _, step: FakeRenderer(name="diffusers"), shelf)(settings(CLIP, NSFW))
    requests = [ImageRequest("a dog", seed) for seed in (1, 2, 3)]
    drawn = renderer.render(requests)
    light = [float(image.pixels.mean()) / 255 for image in drawn]
    plain = FakeRenderer().render(requests)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(drawn, plain, strict=True))
    spec = JobSpec(
        job=JOB,
        owner="me",
        created_at="2026-01-01T00:00:00Z",
        concepts=(Concept(name="dog"),),
        captions=1,
        captions_per_unit=1,
        images_per_caption=3,
        seed=4,
        render=settings(CLIP, NSFW),
    )
    record = CaptionRecord(
        caption_id=caption_id(JOB, 0),
        index=0,
        concept="dog",
        text="a dog",
        draws=1,
        llm_seed=0,
        llm_model="m",
        scores={"second": 1.0},
    )
    encoded = [
        EncodedImage(asked.seed, b"x", None, scores=image.scores) for asked, image in zip(requests, drawn, strict=True)
    ]
    (row,) = pack(spec, [record], [encoded], DrawnBy.of(renderer)).groups
    assert row.scores == {
        "second": 1.0,
        "clip": round(sum(light) / 3, 4),
        "clip_min": round(min(light), 4),
        "nsfw": round(max(light), 4),
    }


def test_a_unit_that_must_be_let_go_is_not_scored() -> None:
    class Never:
        def score(self, captions: Sequence[str], images: Sequence[Pixels]) -> list[dict[str, float]]:
            raise AssertionError("scored all the same")

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        ScoringRenderer(FakeRenderer(), [Never()]).render([ImageRequest("a", 1)], stop)


def test_the_renderer_with_scores_stays_while_nothing_changes() -> None:
    """Whoever watches for loads takes another object for a model that was loaded."""
    kept = FakeRenderer(name="diffusers")
    make = with_scores(lambda _, step: kept, ScorerShelf(lambda name, ref: FakeScorer()))
    first = make(settings(CLIP))
    assert make(settings(CLIP)) is first
    assert make(settings(CLIP, NSFW)) is not first
    assert make(settings()) is kept
