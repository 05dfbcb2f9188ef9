"""How many texts of the language model were kept, and what each reason of a refusal means."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from synfarm.contracts.captions import DropReason
from synfarm.contracts.jobs import CaptionSettings
from synfarm.contracts.views import JobView
from synfarm.report.charts import bar

__all__ = ["Acceptance", "Outcome", "acceptance"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row: what became of so many texts."""

    name: str
    meaning: str
    texts: int
    share: float
    bar: Markup


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Kept texts first, then the refusals from the most frequent one on."""

    draws: int
    kept: int
    outcomes: tuple[Outcome, ...]

    @property
    def rate(self) -> float:
        return self.kept / self.draws if self.draws else 0.0


def acceptance(job: JobView, settings: CaptionSettings | None) -> Acceptance:
    """From the job's own counters. ``settings`` gives the limits that the meanings name."""
    refused = sorted(
        ((n, texts) for n, texts in job.rejections.items() if texts > 0), key=lambda row: (-row[1], row[0])
    )
    rows = [("kept", "It names its concept and passed every check.", job.texts_kept)]
    rows += [(name.replace("_", " "), _meaning(name, settings), texts) for name, texts in refused]
    draws = max(job.draws, 0)
    outcomes = tuple(
        Outcome(
            name, meaning, texts, texts / draws if draws else 0.0, bar(texts, draws, kind="good" if i == 0 else "bad")
        )
        for i, (name, meaning, texts) in enumerate(rows)
    )
    return Acceptance(draws, job.texts_kept, outcomes)


def _meaning(name: str, settings: CaptionSettings | None) -> str:
    fewest = f"fewer than {settings.min_words} words" if settings else "fewer words than the job asks for"
    most = f"more than {settings.max_words} words" if settings else "more words than the job allows"
    meanings = {
        DropReason.EMPTY: "Nothing but blanks before the first line break.",
        DropReason.TOO_SHORT: f"It has {fewest}.",
        DropReason.TOO_LONG: f"Its first sentence has {most}.",
        DropReason.CONCEPT_LOST: "Neither the concept nor a synonym of it stands in the text: its pictures would show "
        "something else.",
        DropReason.REPEATS: "The model went in circles: the same words again and again.",
        DropReason.PROMPT_LEAK: "It repeats an example of its prompt or the prompt's own signs.",
        DropReason.UNFINISHED: "It ran into the limit of tokens before its first sentence ended.",
        DropReason.DUPLICATE: "The same words as another caption of its unit.",
        DropReason.NEAR_DUPLICATE: "Nearly the same as another caption of its unit, beyond the words it was asked for.",
        DropReason.REFUSAL: "It speaks of the task, or declines it.",
        DropReason.NON_LANGUAGE: "Wrong script, signs, code, addresses, or letters run together.",
        DropReason.IMAGE_DAMAGED: "The file that was to be imported is no image that can be read.",
    }
    return (
        meanings.get(DropReason(name), "") if name in set(DropReason) else "A reason that this version does not know."
    )
