"""The seam between drawn images and a model that scores them, and what a commit's row keeps of a caption's images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from synfarm_render_worker.renderer import Pixels

__all__ = ["CLIP", "NSFW", "FakeScorer", "Scorer", "batches", "row_scores"]

CLIP, NSFW = "clip", "nsfw"
_DIGITS = 4
"""Beyond these, scores are rounding of the machine that made them."""


class Scorer(Protocol):
    """Pure in (caption, image), to float rounding: neither neighbours nor earlier calls change a score."""

    def score(self, captions: Sequence[str], images: Sequence[Pixels]) -> list[dict[str, float]]:
        """Scores by name for each image, which was drawn for the caption in the same place.

        Raises:
            UnitFault: a score is not finite.
        """

    def release(self) -> None:
        """Let go of the weights, whoever still holds this object."""


def row_scores(images: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of a caption's images: ``clip`` is their mean and ``clip_min`` the least, ``nsfw`` the largest.

    A caption is in a data set with all of its images: one that shows something else, or should not be seen, counts.
    """
    clip = [scores[CLIP] for scores in images if CLIP in scores]
    nsfw = [scores[NSFW] for scores in images if NSFW in scores]
    found = {CLIP: fmean(clip), "clip_min": min(clip)} if clip else {}
    if nsfw:
        found[NSFW] = max(nsfw)
    return {name: round(value, _DIGITS) for name, value in found.items()}


def batches(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, start + size)


@dataclass(frozen=True, slots=True)
class FakeScorer:
    """Scores by a rule that a test can tell beforehand: the image's mean brightness, from 0 to 1."""

    name: str = CLIP

    def score(self, captions: Sequence[str], images: Sequence[Pixels]) -> list[dict[str, float]]:
        return [{self.name: float(image.mean()) / 255} for image in images]

    def release(self) -> None:
        """It has none."""
