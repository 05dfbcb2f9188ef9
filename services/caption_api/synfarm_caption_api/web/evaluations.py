"""A run's evaluations as rows and curves; an evaluation is recognised by its ``top1``, whatever its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from synfarm_caption_api.web.curves import Curve

__all__ = ["Evaluation", "Share", "evaluation_curves", "evaluations"]


class Share(BaseModel):
    """A share of test images in 0 to 1, and its standard error."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    top1: float
    standard_error: float = 0.0


class _Record(Share):
    floors: dict[str, Share] = {}
    test_images: int | None = None
    test_captions: int | None = None
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation at one step."""

    step: int
    name: str
    share: Share
    floors: Mapping[str, Share] = field(default_factory=dict)
    """What needs no learning, on the same split."""
    test_images: int | None = None
    test_captions: int | None = None
    classes: int | None = None


def evaluations(evals: Mapping[str, JsonValue]) -> list[Evaluation]:
    """The readable records of ``{step: {name: record}}``, by step, then by name."""
    found: list[Evaluation] = []
    for step, named in evals.items():
        if not step.isdigit() or not isinstance(named, dict):
            continue
        for name, record in named.items():
            try:
                read = _Record.model_validate(record)
            except ValidationError:
                continue  # Another kind of evaluation: it is in the API's answer, this page has no place for it.
            found.append(
                Evaluation(int(step), name, read, read.floors, read.test_images, read.test_captions, read.classes)
            )
    return sorted(found, key=lambda item: (item.step, item.name))


def evaluation_curves(found: list[Evaluation]) -> tuple[list[Curve], list[tuple[str, float]]]:
    """A line an evaluation with its standard error as range, and the floors of the newest one."""
    points: dict[str, list[tuple[int, float, float, float]]] = {}
    for item in found:
        top1, error = item.share.top1, item.share.standard_error
        points.setdefault(item.name, []).append((item.step, top1, top1 - error, top1 + error))
    floors = [(name, share.top1) for name, share in found[-1].floors.items()] if found else []
    return [Curve(name, tuple(line)) for name, line in points.items()], floors
