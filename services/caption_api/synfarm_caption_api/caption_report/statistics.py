"""Numbers of a sample of captions: pure functions of its records."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from synfarm.contracts.caption_reports import ConceptCount, ConceptSpread, Distinct, TemplateCount, WordCounts
from synfarm.contracts.captions import CaptionRecord
from synfarm_caption_api.gate.features import names_second
from synfarm_caption_api.gate.words import words_of

__all__ = ["concept_spread", "distinct", "template_counts", "word_counts", "words_of_kept"]

_DISTINCT_OVER = 1000
_LISTED = 10
_ENOUGH = 3
"""Planned captions from which the share of kept texts says something of a concept."""


def word_counts(texts: Iterable[Sequence[str]]) -> WordCounts | None:
    """Lengths of captions given as words; None if there are none."""
    lengths = sorted(map(len, texts))
    if not lengths:
        return None
    return WordCounts(
        mean=round(sum(lengths) / len(lengths), 2),
        median=lengths[(len(lengths) - 1) // 2],
        p95=lengths[math.ceil(0.95 * len(lengths)) - 1],
        histogram=dict(sorted(Counter(lengths).items())),
    )


def distinct(texts: Sequence[Sequence[str]]) -> Distinct | None:
    """Over at most 1,000 captions, taken evenly from all; None if there are none."""
    step = max(1, math.ceil(len(texts) / _DISTINCT_OVER))
    taken = texts[::step]
    if not taken:
        return None
    shares = []
    for n in (1, 2, 3):
        grams = [tuple(words[i : i + n]) for words in taken for i in range(len(words) - n + 1)]
        shares.append(round(len(set(grams)) / len(grams), 4) if grams else 1.0)
    return Distinct(captions=len(taken), distinct_1=shares[0], distinct_2=shares[1], distinct_3=shares[2])


def concept_spread(records: Sequence[CaptionRecord]) -> ConceptSpread:
    """Over all records, kept and empty; ties are listed by name."""
    by_concept: defaultdict[str, list[CaptionRecord]] = defaultdict(list)
    for record in records:
        by_concept[record.concept].append(record)
    counts = [
        ConceptCount(
            concept=concept,
            planned=len(own),
            kept=sum(record.text is not None for record in own),
            draws=sum(record.draws for record in own),
        )
        for concept, own in sorted(by_concept.items())
    ]
    kept = [count.kept for count in counts if count.kept]
    lost = [count for count in counts if count.kept < count.planned]
    asked = [count for count in counts if count.planned >= _ENOUGH and count.draws > count.kept]
    return ConceptSpread(
        planned=len(counts),
        kept=len(kept),
        evenness=_evenness(kept, len(counts)),
        most=tuple(sorted(counts, key=lambda count: -count.kept)[:_LISTED]),
        fewest=tuple(sorted(lost, key=lambda count: count.kept / count.planned)[:_LISTED]),
        hardest=tuple(sorted(asked, key=lambda count: count.kept / count.draws)[:_LISTED]),
    )


def _evenness(kept: Sequence[int], planned: int) -> float:
    total = sum(kept)
    largest = math.log(min(total, planned)) if min(total, planned) > 1 else 0.0
    if not largest:
        return 1.0
    entropy = -sum(count / total * math.log(count / total) for count in kept)
    return round(min(1.0, entropy / largest), 4)


def template_counts(records: Sequence[CaptionRecord]) -> dict[str, TemplateCount]:
    """By template, in the order of their names."""
    by_template: defaultdict[str, list[CaptionRecord]] = defaultdict(list)
    for record in records:
        by_template[record.template.value].append(record)
    return {template: _template_count(own) for template, own in sorted(by_template.items())}


def _template_count(records: Sequence[CaptionRecord]) -> TemplateCount:
    kept = [record for record in records if record.text is not None]
    named = [names_second(record.text or "", record.second) for record in kept if record.second is not None]
    return TemplateCount(
        planned=len(records),
        kept=len(kept),
        draws=sum(record.draws for record in records),
        second_named=round(sum(named) / len(named), 4) if named else None,
    )


def words_of_kept(records: Iterable[CaptionRecord]) -> list[tuple[str, ...]]:
    """The words of each kept caption."""
    return [words_of(record.text) for record in records if record.text is not None]
