"""From a job that asks for scores to a run that chooses by them: the names are those of both sides."""

from __future__ import annotations

from statistics import median

import numpy as np

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.contracts.render_settings import ModelRef, RenderSettings
from synfarm_render_worker.drawing import EncodedImage
from synfarm_render_worker.packing import DrawnBy, pack
from synfarm_render_worker.renderer import FakeRenderer, ImageRequest, image_seed
from synfarm_render_worker.scoring.scorer import FakeScorer
from synfarm_render_worker.scoring.shelf import ScorerShelf, with_scores
from synfarm_trainer.data.filtering import Filters
from synfarm_trainer.presets import resolve

JOB = "01jd00000000000000000000aa"
SPEC = JobSpec(
    job=JOB,
    owner="me",
    created_at="2026-01-01T00:00:00Z",
    concepts=(Concept(name="dog"),),
    captions=12,
    captions_per_unit=12,
    images_per_caption=2,
    seed=4,
    render=RenderSettings(
        renderer="diffusers",
        model="m",
        family="tiny",
        size=32,
        clip_score=ModelRef(model="clip"),
        nsfw_score=ModelRef(model="checker"),
    ),
)


def test_a_run_chooses_captions_by_the_scores_of_their_images() -> None:
    renderer = with_scores(lambda _, step: FakeRenderer(), ScorerShelf(lambda name, _: FakeScorer(name)))(SPEC.render)
    records = [
        CaptionRecord(
            caption_id=caption_id(JOB, i), index=i, concept="dog", text=f"dog {i}", draws=1, llm_seed=0, llm_model="m"
        )
        for i in range(SPEC.captions)
    ]
    images = []
    for record in records:
        requests = [ImageRequest(record.text or "", image_seed(SPEC.seed, JOB, record.index, k)) for k in range(2)]
        drawn = renderer.render(requests)
        images.append([EncodedImage(r.seed, b"x", None, scores=i.scores) for r, i in zip(requests, drawn, strict=True)])
    rows = pack(SPEC, records, images, DrawnBy.of(renderer)).groups
    least, most = (median(row.scores[name] for row in rows) for name in ("clip", "nsfw"))
    data = resolve("tiny", {"data.min_scores": {"clip": least}, "data.max_scores": {"nsfw": most}}).data
    filters = Filters(min_scores=data.min_scores, max_scores=data.max_scores)
    scores = {name: np.array([row.scores[name] for row in rows]) for name in rows[0].scores}
    stays = filters.stays({}, {}, scores, scores)
    filters.check()
    assert stays is not None
    assert stays.tolist() == [row.scores["clip"] >= least and row.scores["nsfw"] <= most for row in rows]
    assert 0 < sum(stays) < len(rows)
