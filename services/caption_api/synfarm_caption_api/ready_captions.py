"""Captions that no language model is asked for: lines of a file, captions of another job, joined names (table 2)."""

from __future__ import annotations

from synfarm.concepts import Lexicon
from synfarm.contracts import layout
from synfarm.contracts.captions import NO_CONCEPT, CaptionRecord, DropReason, read_jsonl
from synfarm.contracts.generations import unit_of
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.origins import CaptionFileRef, CaptionJobRef, Template
from synfarm.contracts.recipes import Recipe
from synfarm.queue.specs import SpecCache
from synfarm.queue.unit import UnitFault
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm_caption_api.caption_files import CaptionLines
from synfarm_caption_api.prompts.planner import Planner

__all__ = ["ReadyCaptions"]

_NO_MODEL = "none"
_LONGEST = 5
"""Words of the longest name that is looked for in a caption."""


class ReadyCaptions:
    """Writes the records of a unit whose captions are known without asking; thread-safe."""

    def __init__(self, store: ObjectStore, drawable: Lexicon) -> None:
        """``drawable``: what the collage renderer knows; a text that names none of it leaves its slot empty there."""
        self._store, self._drawable = store, drawable
        self._lines, self._specs = CaptionLines(store), SpecCache(store)

    def records(self, spec: JobSpec, unit: int, recipe: Recipe | None) -> list[CaptionRecord] | None:
        """The records in order of index; None if a language model is to write them.

        Raises:
            UnitFault: the job that they come from has been deleted.
            StoreError: the store is away, or a file's part is damaged.
        """
        indices = spec.unit_range(unit)
        if isinstance(spec.captions_from, CaptionFileRef):
            ref = spec.captions_from
            return [self._drawn(spec, self._from_file(spec, ref, index)) for index in indices]
        if isinstance(spec.captions_from, CaptionJobRef):
            return [self._drawn(spec, record) for record in self._from_job(spec, spec.captions_from, indices)]
        if recipe is not None and not recipe.asks:
            planner = Planner(spec, recipe)
            return [self._drawn(spec, _joined(spec, planner, index)) for index in indices]
        return None

    def _from_file(self, spec: JobSpec, ref: CaptionFileRef, index: int) -> CaptionRecord:
        line = self._lines.line(ref, index % ref.lines)
        return CaptionRecord(
            caption_id=caption_id(spec.job, index),
            index=index,
            concept=line.concept or NO_CONCEPT,
            kind=line.kind,
            template=Template.GIVEN,
            text=line.text,
            draws=0,
            llm_seed=0,
            llm_model=_NO_MODEL,
        )

    def _from_job(self, spec: JobSpec, ref: CaptionJobRef, indices: range) -> list[CaptionRecord]:
        try:
            theirs = self._specs.get(ref.job)
        except ObjectMissing:
            raise UnitFault(f"job {ref.job}, whose captions this job takes, is gone") from None
        known: dict[int, CaptionRecord] = {}
        for unit in sorted({unit_of(theirs, index) for index in indices if index < theirs.captions}):
            known.update((record.index, record) for record in self._unit(ref.job, unit))
        return [
            known[index].model_copy(
                # What was asked and refused for it is counted in the job that asked.
                update={"caption_id": caption_id(spec.job, index), "draws": 0, "rejections": {}}
            )
            if index in known
            else _unwritten(spec, index)
            for index in indices
        ]

    def _unit(self, job: str, unit: int) -> list[CaptionRecord]:
        try:
            return read_jsonl(self._store.get(layout.captions(job, unit)))
        except ObjectMissing:
            if self._store.head(layout.tombstone(job)) is not None:
                raise UnitFault(f"job {job}, whose captions this job takes, has been deleted") from None
            return []  # the unit was given up, or its job was cancelled before it came to it

    def _drawn(self, spec: JobSpec, record: CaptionRecord) -> CaptionRecord:
        """The record as it is, or with an empty slot if the collage renderer could not draw its text."""
        if spec.render.renderer != "collage" or record.text is None or self._names_drawable(record.text):
            return record
        return record.model_copy(update={"text": None, "empty_reason": DropReason.CONCEPT_LOST, "scores": {}})

    def _names_drawable(self, text: str) -> bool:
        words = "".join(sign if sign.isalnum() or sign in "'’" else " " for sign in text.casefold()).split()
        return any(
            self._drawable.find(" ".join(words[start : start + length])) is not None
            for start in range(len(words))
            for length in range(1, min(_LONGEST, len(words) - start) + 1)
        )


def _joined(spec: JobSpec, planner: Planner, index: int) -> CaptionRecord:
    """The concept, its hypernyms from the nearest on, and a place (table 2, IN+h+Places)."""
    concept, template, place, hypernyms = planner.at(index)
    return CaptionRecord(
        caption_id=caption_id(spec.job, index),
        index=index,
        concept=concept.name,
        kind=concept.kind,
        template=template,
        second=place,
        text=", ".join((concept.name, *hypernyms, *((place,) if place is not None else ()))),
        draws=0,
        llm_seed=0,
        llm_model=_NO_MODEL,
    )


def _unwritten(spec: JobSpec, index: int) -> CaptionRecord:
    return CaptionRecord(
        caption_id=caption_id(spec.job, index),
        index=index,
        concept=NO_CONCEPT,
        template=Template.GIVEN,
        empty_reason=DropReason.NOT_WRITTEN,
        draws=0,
        llm_seed=0,
        llm_model=_NO_MODEL,
    )
