"""k-NN results as a run's evaluations hold them, for everyone who tells of them: commands, report, benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

__all__ = ["Accuracy", "KnnHistory", "KnnRecord", "knn_history"]


class Accuracy(BaseModel):
    """A share of images in 0 to 1, and its standard error by bootstrap over captions."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    top1: float
    standard_error: float = Field(ge=0)

    def __str__(self) -> str:
        return f"{100 * self.top1:.1f} % ± {100 * self.standard_error:.1f}"


class KnnRecord(Accuracy):
    """What ``evals/<step>/knn.json`` holds of it."""

    floors: dict[str, Accuracy] = Field(default_factory=dict)
    """By name: k-NN on features that nothing was learnt for, on the same split."""
    k: int = 0
    classes: int = 0
    bank_images: int = 0
    test_images: int = 0
    test_captions: int = 0


@dataclass(frozen=True, slots=True)
class KnnHistory:
    """Records by step, from the first to the last; at least one."""

    records: tuple[tuple[int, KnnRecord], ...]

    @property
    def before(self) -> KnnRecord | None:
        """Of the untrained network."""
        step, record = self.records[0]
        return record if step == 0 else None

    @property
    def after(self) -> KnnRecord | None:
        """Of the network after its last evaluated step."""
        step, record = self.records[-1]
        return record if step > 0 else None

    @property
    def last_step(self) -> int:
        return self.records[-1][0]

    @property
    def last(self) -> KnnRecord:
        return self.records[-1][1]

    @property
    def floors(self) -> dict[str, Accuracy]:
        """By name as people write it: ``raw pixels``."""
        return {name.replace("_", " "): floor for name, floor in self.last.floors.items()}

    @property
    def chance(self) -> float | None:
        """Of naming the right concept without looking."""
        return 1 / self.last.classes if self.last.classes else None


def knn_history(evals: Mapping[str, JsonValue]) -> KnnHistory | None:
    """The k-NN records in ``{"<step>": {"knn": {…}}}``; malformed ones are left out; None without any."""
    found: dict[int, KnnRecord] = {}
    for step, named in evals.items():
        if not step.isascii() or not step.isdigit() or not isinstance(named, dict):
            continue
        try:
            found[int(step)] = KnnRecord.model_validate(named.get("knn"))
        except ValidationError:
            continue  # another evaluation's record, or one that a later version writes
    return KnnHistory(tuple(sorted(found.items()))) if found else None
