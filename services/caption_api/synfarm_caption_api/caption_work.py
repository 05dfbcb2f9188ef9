"""What a caption worker does with a claimed unit: write its JSONL once, send it on to be rendered, count it."""

from __future__ import annotations

from typing import Protocol

from synfarm.concepts import Lexicon, load
from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, read_jsonl, write_jsonl
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.faults import Faults
from synfarm.queue.board import Board
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.lease import Interrupt, UnitInterrupted
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm_caption_api.captioning import caption_unit
from synfarm_caption_api.loop_thread import LoopThread
from synfarm_caption_api.prompts.drawers import Drawers
from synfarm_caption_api.prompts.pools import Pools
from synfarm_caption_api.ready_captions import ReadyCaptions
from synfarm_caption_api.recipe_shelf import RecipeShelf
from synfarm_caption_api.text_generator import TextGenerator

__all__ = ["CaptionWork", "Claim"]


class Claim(Protocol):
    """What this stage uses of a lease."""

    def progress(self) -> None: ...

    def check(self) -> None: ...


class CaptionWork:
    """The ``work`` of :class:`synfarm.queue.unit.UnitRunner` for ``caption.unit``; thread-safe."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        board: Board,
        dispatcher: Dispatcher,
        generator: TextGenerator,
        loop: LoopThread,
        pools: Pools,
        faults: Faults,
    ) -> None:
        self._store, self._board, self._dispatcher = store, board, dispatcher
        self._generator, self._loop, self._faults = generator, loop, faults
        self._recipes, self._drawers = RecipeShelf(store), Drawers(pools)
        self._ready = ReadyCaptions(store, Lexicon(load("collage")))

    def __call__(self, spec: JobSpec, task: UnitTask, lease: Claim) -> None:
        """Do the unit; one whose JSONL exists is only sent on, so no generation is paid for twice."""
        key = layout.captions(spec.job, task.unit)
        records = self._existing(key)
        if records is None:
            records = self._records(spec, task.unit, lease)
            if self._store.head(layout.tombstone(spec.job)) is not None:
                raise UnitInterrupted(Interrupt.DELETED)
            self._faults.reach("caption.before_jsonl", task.unit)
            if not self._store.create(key, write_jsonl(records), content_type="application/x-ndjson"):
                records = read_jsonl(self._store.get(key))  # another worker was first: its texts are the unit's texts
            self._faults.reach("caption.after_jsonl", task.unit)
        self._dispatcher.send(spec, task.unit, Stage.RENDER)
        self._board.mark_captions(spec.job, task.unit, records)

    def _records(self, spec: JobSpec, unit: int, lease: Claim) -> list[CaptionRecord]:
        recipe = self._recipes.get(spec.recipe)
        ready = self._ready.records(spec, unit, recipe)
        if ready is not None:
            lease.check()
            return ready
        drawer = self._drawers.of(spec, recipe)
        work = caption_unit(spec, unit, drawer=drawer, generator=self._generator, progress=lease.progress)
        return self._loop.run(work, check=lease.check)

    def _existing(self, key: str) -> list[CaptionRecord] | None:
        try:
            return read_jsonl(self._store.get(key))
        except ObjectMissing:
            return None
