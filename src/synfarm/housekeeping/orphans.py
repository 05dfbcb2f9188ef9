"""Tars that no commit names: two workers drew one unit and one commit won, or a worker died before its commit."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit
from synfarm.housekeeping.job_record import JobRecord, NoSuchJob, read_job
from synfarm.housekeeping.needed_tars import NeededTars
from synfarm.housekeeping.removing import Remover
from synfarm.storage.manifest_reader import ManifestDamaged
from synfarm.storage.protocol import ObjectInfo, ObjectMissing, ObjectStore

__all__ = ["sweep_tars"]


def sweep_tars(record: JobRecord, remover: Remover) -> None:
    """Remove the tars of a job that nobody needs, by rule 4 of the design's section 2.

    A unit with one tar and a commit is not looked at closer: the tar is the commit's, or all that is left of it.
    """
    sweep = _Sweep(record, remover)
    try:
        for unit, tars, committed in _units(remover.store, record.spec.job, remover):
            sweep.unit(unit, tars, committed)
    except ManifestDamaged as error:
        remover.note(
            f"job {record.spec.job}: {error}. Nobody knows which tars its manifest names, so the rest of them stay; "
            f"`synfarm verify {record.spec.job}` tells more."
        )


def _units(store: ObjectStore, job: str, remover: Remover) -> Iterator[tuple[int, list[ObjectInfo], bool]]:
    """(unit, its tars, whether it is committed) of every unit with a tar, from two listings side by side."""

    def of(listed: Iterator[ObjectInfo], is_tar: bool) -> Iterator[tuple[int, bool, ObjectInfo]]:
        for info in listed:
            try:
                yield layout.parse_unit(info.key)[2], is_tar, info
            except ValueError:
                remover.note(f"{info.key}: no synfarm writes such an object there; it was left alone.")

    tars = of(store.list(layout.shards_prefix(job)), True)
    commits = of(store.list(layout.commits_prefix(job)), False)
    for unit, entries in groupby(heapq.merge(tars, commits, key=itemgetter(0)), key=itemgetter(0)):
        found = list(entries)
        held = [info for _, is_tar, info in found if is_tar]
        if held:
            yield unit, held, len(held) < len(found)


class _Sweep:
    def __init__(self, record: JobRecord, remover: Remover) -> None:
        self._record, self._remover, self._store = record, remover, remover.store
        self._job = record.spec.job
        self._needed = NeededTars(remover.store, record)

    def unit(self, unit: int, tars: list[ObjectInfo], committed: bool) -> None:
        """One unit; units come in their order."""
        if committed and len(tars) == 1:
            return
        old = [info for info in tars if self._remover.is_old(info) and not self._needed.names(unit, info.key)]
        if not old:
            return
        if committed or self._store.head(layout.commit(self._job, unit)) is not None:
            self._beside_commit(unit, tars, old)
        elif self._record.has_ended:
            for info in old:
                self._of_ended_job(unit, info)

    def _beside_commit(self, unit: int, tars: list[ObjectInfo], old: list[ObjectInfo]) -> None:
        """A commit never changes: a tar that it does not name will never be named."""
        key = layout.commit(self._job, unit)
        try:
            commit = Commit.from_bytes(self._store.get(key))
        except (ObjectMissing, ValidationError):
            self._remover.note(f"{key}: cannot be read; the tars of unit {unit} stay.")
            return
        named = commit.shard.key if commit.shard is not None else None
        if named is None or (named not in {info.key for info in tars} and self._store.head(named) is None):
            self._remover.note(f"{key}: the tar that it names is gone; the other tars of unit {unit} stay.")
            return
        for info in old:
            if info.key != named and (not self._remover.delete or self._remover.is_still_old(info.key)):
                self._remover.remove(info, f"the commit of unit {unit} names another tar")

    def _of_ended_job(self, unit: int, info: ObjectInfo) -> None:
        """No commit, and nobody works on the job.

        A retry may begin in this very moment, draw the unit again, and upload the same bytes under the same name. It
        begins with an opening: while there is none after the removal, whatever it uploads comes after it. If there is
        one, the tar is put back, which harms nobody.
        """
        why = f"unit {unit} has no commit, and its job has ended"
        if not self._remover.delete:
            self._remover.remove(info, why)
            return
        try:
            data = self._store.get(info.key)
        except ObjectMissing:
            return
        if not self._at_rest(unit) or not self._remover.is_still_old(info.key):
            return
        self._remover.remove(info, why)
        if not self._at_rest(unit):
            self._store.put(info.key, data, content_type="application/x-tar")
            self._remover.take_back(info)

    def _at_rest(self, unit: int) -> bool:
        """The unit has no commit, and the job has ended with the generation with which this sweep began."""
        try:
            now = read_job(self._store, self._job)
        except (NoSuchJob, ManifestDamaged):
            return False
        if not now.has_ended or now.generation != self._record.generation:
            return False
        return self._store.head(layout.commit(self._job, unit)) is None
