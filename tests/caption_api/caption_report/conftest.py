"""Jobs whose captions were written, without a language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord, DropReason, write_jsonl
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Counts, Progress
from synfarm.storage.memory import MemoryStore

Text = Callable[[int], str | None]


class Writer:
    """Stands for the caption workers of one store."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.seen: list[tuple[str, str]] = []
        self.store.fault = lambda operation, key: self.seen.append((operation, key))

    def record(self, spec: JobSpec, index: int, text: str | None, **changes: Any) -> CaptionRecord:
        plain = {
            "concept": spec.concepts[index % len(spec.concepts)].name,
            "empty_reason": None if text else DropReason.CONCEPT_LOST,
            "draws": 1 if text else 9,
            "rejections": {} if text else {DropReason.CONCEPT_LOST: 9},
            "llm_seed": index,
            "llm_model": "fake",
        }
        return CaptionRecord(caption_id=caption_id(spec.job, index), index=index, text=text, **{**plain, **changes})

    def write(self, spec: JobSpec, units: range, text: Text) -> None:
        for unit in units:
            records = [self.record(spec, index, text(index)) for index in spec.unit_range(unit)]
            self.store.create(layout.captions(spec.job, unit), write_jsonl(records))

    def note(self, spec: JobSpec, watermark: int) -> None:
        """The feeder's note of how far the job is."""
        progress = Progress(job=spec.job, watermark=watermark, counts=Counts(), parts=0, as_of=utc_now())
        self.store.put(layout.progress(spec.job), progress.to_bytes())

    def reads(self) -> list[str]:
        """Keys of the captions read so far."""
        return [key for operation, key in self.seen if operation == "get" and "/captions/" in key]


@pytest.fixture
def writer() -> Writer:
    return Writer()
