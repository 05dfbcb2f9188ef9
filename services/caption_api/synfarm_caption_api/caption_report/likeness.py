"""Near duplicates across the units of a sample, and what they say of the whole job."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from synfarm.contracts.caption_reports import NearDuplicates
from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.concepts import Concept
from synfarm.contracts.origins import Template
from synfarm_caption_api.gate.features import NEAR, Features, candidate_bands, features_of, likeness

__all__ = ["near_duplicates"]

_MOST_CANDIDATES = 256
"""Earlier captions of one band that a caption is compared with: a job that says one thing only stays cheap to see
through, and its share is near 1 whether or not all pairs are counted."""


def near_duplicates(units: Sequence[Sequence[CaptionRecord]], written: int) -> NearDuplicates:
    """Compare the kept captions of each unit with those of the units before it. ``written``: kept in the whole job."""
    bands: defaultdict[object, list[int]] = defaultdict(list)
    seen: list[Features] = []
    repeats = pairs = compared = 0
    for records in units:
        own = [_features(record) for record in records if record.text is not None]
        compared += len(own) * len(seen)
        for features in own:
            places = {place for band in candidate_bands(features) for place in bands[band][:_MOST_CANDIDATES]}
            near = sum(likeness(features, seen[place]) >= NEAR for place in places)
            pairs += near
            repeats += near > 0
        for features in own:
            for band in candidate_bands(features):
                bands[band].append(len(seen))
            seen.append(features)
    others = max(0, max(written, len(seen)) - 1)
    return NearDuplicates(
        captions=len(seen),
        repeats=repeats,
        share=round(repeats / len(seen), 4) if seen else 0.0,
        pairs=pairs,
        twins_per_caption=_rounded(pairs / compared * others) if compared else None,
        twins_at_most=_rounded((pairs + 1.645 * math.sqrt(pairs) + 3) / compared * others) if compared else None,
    )


def _features(record: CaptionRecord) -> Features:
    relation = record.second if record.template is Template.RELATION else None
    background = record.second if relation is None else None
    return features_of(record.text or "", Concept(name=record.concept), background, relation)


def _rounded(value: float) -> float:
    """Three digits: more would only look exact."""
    return float(f"{value:.3g}")
