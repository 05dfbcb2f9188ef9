"""Batches by step number, made ahead by threads; what they hold does not depend on how many."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import key_of, shuffled_sample
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.augment import draw_params, local_augment
from synfarm_trainer.data.augment.cutting import cutter
from synfarm_trainer.data.augment.uncut import CropKind, Uncut
from synfarm_trainer.data.cache.ahead import Ahead
from synfarm_trainer.data.cache.upcoming import Upcoming
from synfarm_trainer.data.cells import draw_kept, draw_masks
from synfarm_trainer.data.course import Course
from synfarm_trainer.data.cropids import CropIds, Epoch, global_crops
from synfarm_trainer.data.decode import decode_group, read_caption
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.handover import Handover
from synfarm_trainer.data.manifest import Dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.data.texts import encode_text

__all__ = ["Loader", "RankBatch", "batch_sha256", "image_numbers"]


@dataclass(frozen=True, eq=False)
class RankBatch:
    """A rank's share of a step's batch: c whole captions, crops of an image adjacent, n = c * views * crops."""

    step: int
    epoch: int
    """Of its captions; where datasets have epochs of their own, the latest."""
    rows: NDArray[np.int64]
    """(c,): rows of the captions in the dataset."""
    concepts: NDArray[np.int64]
    """(c,): code of each caption's concept."""
    pixels: NDArray[np.uint8] | None
    """(n, size, size, 3): global crops; None if they are still to be cut."""
    local_pixels: NDArray[np.uint8] | None
    """(c * views * count, local size, local size, 3): local crops, those of an image adjacent."""
    uncut: Uncut | None
    """Images, global and local crops to be cut, with ``execution.augment`` device."""
    masks: NDArray[np.bool_] | None
    """(n, patches): hidden from the student's global crops."""
    kept: NDArray[np.bool_] | None
    """(n, depth, 2): global crops that go through a block's attention and its MLP."""
    local_kept: NDArray[np.bool_] | None
    """(c * views * count, depth, 2): the same for local crops."""
    texts: NDArray[np.int64] | None
    """(c, context): tokens of each caption."""
    digests: NDArray[np.uint8]
    """(c, 32): of each caption's id, pixels, masks, dropped branches and tokens. Where crops are still to be cut it
    is the decoded images' pixels and all that was drawn of their crops: the same at any number of ranks and on any
    device, and never equal to the other form's."""
    refilled: tuple[tuple[int, int, int], ...]
    """(row, image wanted, image taken) of each replacement."""
    wait_seconds: float = 0.0
    """How long the step waited for it."""


def batch_sha256(digests: NDArray[np.uint8]) -> str:
    """The hash of a global batch from its captions' digests, (C, 32) in batch order."""
    return hashlib.sha256(np.ascontiguousarray(digests).tobytes()).hexdigest()


def image_numbers(seed: int, epoch: int, job: int, index: int, images: int, views: int) -> list[int]:
    """Which images of a caption a batch takes: all of them, or ``views`` distinct ones by keyed draw."""
    if images == views:
        return list(range(images))
    return shuffled_sample(key_of(seed, Purpose.VIEWS), images, views, epoch, job, index)


def _of_each(epoch: Epoch, crops: CropIds) -> Epoch:
    """The epochs of captions as those of their crops, which are adjacent."""
    return epoch if isinstance(epoch, int) else epoch.repeat(len(crops) // len(epoch))


@dataclass(frozen=True, eq=False)
class _Draws:
    """What is drawn for a rank's share before its pixels are read; image arrays in batch order."""

    epoch: Epoch
    rows: NDArray[np.int64]
    numbers: NDArray[np.int64]
    """(c, views): which images of each caption."""
    kinds: tuple[CropKind, ...]
    """Global crops, and local ones if there are any."""
    masks: NDArray[np.bool_] | None
    kept: NDArray[np.bool_] | None
    local_kept: NDArray[np.bool_] | None
    crops: tuple[NDArray[np.uint8], ...]
    """Of each kind, (n, size, size, 3): where readers put them; none where they are still to be cut."""

    def bytes_of(self, place: int, captions: int) -> bytes:
        """Masks and dropped branches of the caption at ``place``, for its digest."""
        found = (self.masks, self.kept, self.local_kept)
        return b"".join(x.reshape(captions, -1)[place].tobytes() for x in found if x is not None)


@dataclass(frozen=True, eq=False)
class _Group:
    """What was read of one caption."""

    images: list[NDArray[np.uint8]]
    """Decoded, of crops that are still to be cut; else none: its crops lie where the batch will have them."""
    text: NDArray[np.int64]
    digest: NDArray[np.uint8]
    refilled: tuple[tuple[int, int, int], ...]


class Loader:
    """Iterate over a rank's batches from ``start`` to ``stop`` (steps); close it when done."""

    def __init__(
        self,
        dataset: Dataset,
        plan: Plan | Course,
        cache: ShardCache,
        config: TrainConfig,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """
        Raises:
            ValueError: the ranks do not divide the batch into whole cells.
        """
        self._dataset, self._plan, self._cache, self._config = dataset, plan, cache, config
        self._local = local_augment(config.augment, config.local_crops)
        self._uncut = config.execution.augment == "device"
        self._cutter = cutter("plain" if self._uncut else config.data.cutting)
        self._slice = plan.rank_slice(rank, world)
        self._pool = ThreadPoolExecutor(config.data.threads, thread_name_prefix="loader")
        self._ahead: Ahead | None = None
        self._upcoming: Upcoming | None = None
        if (data := config.data).fetch_threads:
            self._upcoming, most = Upcoming(dataset, plan, self._slice), cache.most_ahead(data.fetch_ahead_mib << 20)
            held = None if dataset.shelf is None else max(1, dataset.shelf.most // 2)
            self._ahead = Ahead(cache, self._upcoming, threads=data.fetch_threads, max_bytes=most, max_shards=held)

    def close(self) -> None:
        self._cache.close()
        if self._ahead is not None:
            self._ahead.close()
        if self._upcoming is not None:
            self._upcoming.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read_counts(self) -> dict[str, float]:
        """What reading came to on this rank so far, by the names of ``Counted``."""
        return self._cache.counts.told()

    def batches(self, start: int, stop: int) -> Iterator[RankBatch]:
        """Batches of steps ``start`` to ``stop - 1``; errors of the reading threads are raised here.

        A thread of its own draws and puts together the next one meanwhile.
        """
        made = Handover(self._made(start, stop), "batches")
        try:
            while True:
                since = time.perf_counter()
                batch = next(made, None)
                if batch is None:
                    return
                yield replace(batch, wait_seconds=time.perf_counter() - since)
        finally:
            made.close()

    def _made(self, start: int, stop: int) -> Iterator[RankBatch]:
        queue: deque[tuple[_Draws, list[Future[_Group]]]] = deque()
        following = start
        if self._ahead is not None:
            self._ahead.begin(start, stop)
        for step in range(start, stop):
            if self._ahead is not None:
                self._ahead.advance(step, following)
            while following < stop and following <= step + self._config.data.prefetch_steps:
                queue.append(self._submit(following))
                following += 1
            draws, futures = queue.popleft()
            groups = [future.result() for future in futures]
            crops = draws.crops
            yield RankBatch(
                step=step,
                epoch=int(np.max(draws.epoch)),
                rows=draws.rows,
                concepts=self._plan.table.concept[draws.rows].astype(np.int64),
                pixels=crops[0] if crops else None,
                local_pixels=crops[1] if len(crops) > 1 else None,
                uncut=None if crops else Uncut([image for group in groups for image in group.images], draws.kinds),
                masks=draws.masks,
                kept=draws.kept,
                local_kept=draws.local_kept,
                texts=np.stack([group.text for group in groups]) if self._config.objective.uses_texts else None,
                digests=np.stack([group.digest for group in groups]),
                refilled=tuple(item for group in groups for item in group.refilled),
            )

    def go_on_with(self, dataset: Dataset, plan: Plan | Course) -> None:
        """Batches that are asked for from now on are of these; none may be under way."""
        self._dataset, self._plan = dataset, plan
        if self._upcoming is not None:
            self._upcoming.go_on_with(dataset, plan)

    def _draw(self, step: int) -> _Draws:
        """Of the whole share at once: a draw per image would cost more than its pixels."""
        config, seed = self._config, self._plan.seed
        rows, epoch, views = self._plan.batch(step)[self._slice], self._epoch_of(step), config.data.views
        job, index = self._plan.table.job[rows], self._plan.table.index[rows]
        numbers = np.array(
            [
                image_numbers(seed, int(e), int(j), int(i), self._dataset.images_of(int(row)), views)
                for row, e, j, i in zip(rows, np.broadcast_to(epoch, rows.shape), job, index, strict=True)
            ],
            dtype=np.int64,
        )
        images = job.repeat(views), index.repeat(views), numbers.reshape(-1)
        whole = CropIds.of(*images, crops=global_crops(config.data.crops), view=np.tile(np.arange(views), len(rows)))
        small = CropIds.of(*images, crops=range(1, 1 + config.local_count))
        large_epoch, small_epoch = (_of_each(epoch, crops) for crops in (whole, small))
        kinds = tuple(
            CropKind(augment.size, draw_params(augment, seed, epochs, crops))
            for augment, epochs, crops in (
                (config.augment, large_epoch, whole),
                (self._local, small_epoch, small),
            )
            if len(crops)
        )
        return _Draws(
            epoch=epoch,
            rows=rows,
            numbers=numbers,
            kinds=kinds,
            masks=draw_masks(config, seed, large_epoch, whole),
            kept=draw_kept(config, seed, large_epoch, whole, config.cell_images),
            local_kept=draw_kept(
                config, seed, small_epoch, small, config.data.cell_captions * views * config.local_count
            )
            if config.uses_local_crops
            else None,
            crops=()
            if self._uncut
            else tuple(np.empty((len(kind.params), kind.size, kind.size, 3), dtype=np.uint8) for kind in kinds),
        )

    def _epoch_of(self, step: int) -> Epoch:
        if isinstance(self._plan, Course):
            return self._plan.epochs(step)[self._slice]
        return self._plan.epoch_of(step)

    def _submit(self, step: int) -> tuple[_Draws, list[Future[_Group]]]:
        draws = self._draw(step)
        return draws, [self._pool.submit(self._group, draws, place) for place in range(len(draws.rows))]

    def _group(self, draws: _Draws, place: int) -> _Group:
        """Read one caption's images and, unless that is left to the device, cut them."""
        row, views, captions = int(draws.rows[place]), self._config.data.views, len(draws.rows)
        ref, named = self._dataset.shards[self._dataset.shard_of[row]], self._dataset.rows[row]
        shard, found = self._cache.read(ref, named)
        group = decode_group(shard, found, draws.numbers[place].tolist())
        places = np.arange(place * views, (place + 1) * views)
        images = list(group.images) if self._uncut else []
        which = [kind.crops_of(places, captions * views) for kind in draws.kinds]
        digest = hashlib.sha256(named.caption_id.encode())
        if self._uncut:
            for image in images:
                digest.update(repr(image.shape).encode() + image.tobytes())
            for kind, mine in zip(draws.kinds, which, strict=True):
                digest.update(repr(kind.size).encode() + kind.params.bytes_of(mine))
        else:
            prepared = [self._cutter.prepare(image) for image in group.images]
            for kind, crops, mine in zip(draws.kinds, draws.crops, which, strict=True):
                each = len(mine) // views
                for i, n in enumerate(mine.tolist()):
                    crops[n] = self._cutter.crop(prepared[i // each], kind.size, kind.params, n)
                # Crops of a caption lie together.
                digest.update(crops[mine[0] : mine[-1] + 1].data)
        text = np.empty(0, dtype=np.int64)
        if (objective := self._config.objective).uses_texts:
            text = encode_text(read_caption(shard, found), objective.text_context)
        for data in (draws.bytes_of(place, captions), text.tobytes()):
            digest.update(data)
        refilled = tuple((row, wanted, taken) for wanted, taken in group.refilled)
        return _Group(images, text, np.frombuffer(digest.digest(), dtype=np.uint8), refilled)
