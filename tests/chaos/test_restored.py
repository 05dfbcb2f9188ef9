"""A farm loses its machines and its store in the middle of a job; another farm, given the backup, ends it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.invariants import assert_whole

from synfarm.contracts import layout
from synfarm.housekeeping.backup.backing_up import back_up
from synfarm.housekeeping.backup.restoring import restore
from synfarm.housekeeping.backup.shelf import FolderShelf
from synfarm.housekeeping.verification.verifying import verify

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(300)]


async def test_another_farm_ends_a_job_from_the_backup_of_one_that_was_lost(
    farm: Any, quick: dict[str, str], tmp_path: Path
) -> None:
    shelf = FolderShelf(tmp_path / "backup")
    async with farm(extra=quick) as lost:
        job = (await lost.submit(captions=200)).job
        await lost.until_committed(job, 5)
        (head,) = await asyncio.to_thread(back_up, lost.store, job, shelf)
        assert head.active
        assert lost.store_is_unfinished(job), "the backup was made inside work"
        kept = {info.key: lost.store.get(info.key) for info in lost.store.list(layout.commits_prefix(job))}
        folder = lost.folder
    shutil.rmtree(folder)
    async with farm(extra=quick) as heir:
        (done,) = await asyncio.to_thread(restore, shelf, heir.store)
        assert done.objects == head.objects
        there = {info.key: heir.store.get(info.key) for info in heir.store.list(layout.commits_prefix(job))}
        first = {key: data for key, data in there.items() if kept.get(key) == data}
        assert len(first) >= 5, "what was drawn before is not drawn again"
        await heir.finish(job, seconds=200)
        ended = assert_whole(heir.store, job)
        assert {key: heir.store.get(key) for key in first} == first
        # The whole job once more, to a third place, with the same manifest: what a run freezes.
        (whole,) = await asyncio.to_thread(back_up, heir.store, job, shelf)
        assert not whole.active
        assert verify(heir.store, job).clean
        assert ended.manifest_sha256
