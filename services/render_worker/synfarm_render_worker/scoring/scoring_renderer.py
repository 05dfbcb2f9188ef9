"""A renderer that has its images scored, batch by batch, on the device on which they were drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from synfarm.queue.unit import EnvironmentFault
from synfarm_render_worker.renderer import ImageRequest, Pixels, RenderedImage, Renderer, Spent, Step, no_step
from synfarm_render_worker.scoring.scorer import Scorer

__all__ = ["ScoringRenderer"]


class ScoringRenderer:
    """Draws as the renderer that it holds. Scoring costs a pass of a vision tower, drawing dozens of a larger network:
    it takes its turn between batches, and the two never ask for the device's memory at once."""

    def __init__(self, renderer: Renderer, scorers: Sequence[Scorer]) -> None:
        self._renderer, self._scorers = renderer, scorers

    def is_of(self, renderer: Renderer, scorers: Sequence[Scorer]) -> bool:
        """Whether it is made of these very ones."""
        mine, theirs = (self._renderer, *self._scorers), (renderer, *scorers)
        return len(mine) == len(theirs) and all(a is b for a, b in zip(mine, theirs, strict=True))

    @property
    def name(self) -> str:
        return self._renderer.name

    @property
    def model(self) -> str | None:
        return self._renderer.model

    @property
    def revision(self) -> str | None:
        return self._renderer.revision

    @property
    def capability(self) -> str:
        return self._renderer.capability

    @property
    def versions(self) -> Mapping[str, str]:
        return self._renderer.versions

    @property
    def batch_hint(self) -> int:
        return self._renderer.batch_hint

    def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
        """
        Raises:
            UnitFault: a request cannot be drawn, or a score is not finite.
            EnvironmentFault: there is no memory left to score.
        """
        drawn = self._renderer.render(requests, step)
        scores: list[dict[str, float]] = [{} for _ in drawn]
        for scorer in self._scorers:
            step()
            found = _scored(scorer, [request.caption for request in requests], [image.pixels for image in drawn])
            for known, new in zip(scores, found, strict=True):
                known.update(new)
        return [replace(image, scores=own) for image, own in zip(drawn, scores, strict=True)]

    def spent(self) -> Spent:
        return self._renderer.spent()


def _scored(scorer: Scorer, captions: Sequence[str], images: Sequence[Pixels]) -> list[dict[str, float]]:
    try:
        return scorer.score(captions, images)
    except (RuntimeError, MemoryError) as error:
        from synfarm_render_worker.diffusion.batching import for_want_of_memory  # loads torch, which a scorer has

        if not for_want_of_memory(error):
            raise
        raise EnvironmentFault(
            "no memory is left to score images beside the model: lower SYNFARM_RENDER_BATCH, or submit the job without "
            "clip_score and nsfw_score"
        ) from error
