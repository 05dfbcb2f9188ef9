"""From a dataset named by hash to the groups it holds, every step of the way proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress
from types import MappingProxyType

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit, GroupRow, ShardRef
from synfarm.contracts.manifests import ManifestLine
from synfarm.contracts.runs import DatasetRef
from synfarm.storage.manifest_reader import ManifestDamaged, proven_lines, read_ended
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.data.filtering import kept_rows
from synfarm_trainer.data.plan import GroupTable

__all__ = ["Dataset", "DatasetInvalid", "load_dataset"]


class DatasetInvalid(Exception):
    """The dataset is not the one that the run froze, or cannot serve it; the message says which and why."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """All groups of a run's datasets in manifest order."""

    shards: tuple[ShardRef, ...]
    rows: tuple[GroupRow, ...]
    shard_of: tuple[int, ...]
    """For each row the place of its shard."""
    concepts: tuple[str, ...]
    """Sorted names; their places are the concept codes of the table."""
    table: GroupTable
    left_out: int = 0
    """Groups that the manifests name and the run's filters leave out."""

    def images_of(self, row: int) -> int:
        """Images of a group: its members but for the JSON."""
        return len(self.rows[row].members) - 1


def _manifest_lines(store: ObjectStore, ref: DatasetRef) -> list[ManifestLine]:
    key = layout.ended(ref.job, ref.generation)
    try:
        ended = read_ended(store, key)
        if ended.manifest_sha256 != ref.manifest_sha256:
            raise DatasetInvalid(f"{key} names another manifest than the run froze ({ref.manifest_sha256[:12]}…)")
        return list(proven_lines(store, ended))
    except ManifestDamaged as error:
        raise DatasetInvalid(f"{error}; `synfarm verify {ref.job}` tells what else is damaged") from error


def _commit(store: ObjectStore, job: str, line: ManifestLine) -> Commit:
    key = layout.commit(job, line.unit)
    commit = Commit.from_bytes(store.get(key))
    if commit.shard != line.shard or len(commit.groups) != line.groups:
        raise DatasetInvalid(f"{key} names another shard than the manifest")
    return commit


def load_dataset(
    store: ObjectStore,
    refs: Sequence[DatasetRef],
    *,
    views: int,
    drop_near_duplicates: bool = False,
    min_scores: Mapping[str, float] = MappingProxyType({}),
    max_scores: Mapping[str, float] = MappingProxyType({}),
    threads: int = 8,
) -> Dataset:
    """Read and verify ``ended``, manifest parts and commits of all datasets; leave out what :func:`kept_rows` does.

    Raises:
        DatasetInvalid: a hash differs, nothing is left, or a group has fewer than ``views`` images.
        UnknownScore: a filter names a score that no group has.
        StoreError, pydantic.ValidationError: an object is away or malformed.
    """
    shards: list[ShardRef] = []
    rows: list[GroupRow] = []
    shard_of: list[int] = []
    with ThreadPoolExecutor(threads, thread_name_prefix="commits") as pool:
        for ref in refs:
            lines = [line for line in _manifest_lines(store, ref) if line.shard is not None]
            commits = pool.map(_commit, [store] * len(lines), [ref.job] * len(lines), lines)
            for commit in commits:
                if commit.shard is None:
                    continue
                shard_of.extend([len(shards)] * len(commit.groups))
                shards.append(commit.shard)
                rows.extend(commit.groups)
    if not rows:
        raise DatasetInvalid("datasets: the manifest holds no caption group with images")
    stays = kept_rows(rows, drop_near_duplicates=drop_near_duplicates, min_scores=min_scores, max_scores=max_scores)
    left_out = stays.count(False)
    rows, shard_of = list(compress(rows, stays)), list(compress(shard_of, stays))
    if not rows:
        raise DatasetInvalid("data.min_scores, data.max_scores: no caption group is within these bounds; widen them")
    poor = next((row for row in rows if len(row.members) - 1 < views), None)
    if poor is not None:
        raise DatasetInvalid(
            f"data.views: caption {poor.caption_id} has {len(poor.members) - 1} images, the run asks for {views}; "
            "lower it to that"
        )
    names = [row.concept for row in rows]
    table = GroupTable.build([row.caption_id for row in rows], shard_of, names)
    return Dataset(tuple(shards), tuple(rows), tuple(shard_of), tuple(sorted(set(names))), table, left_out)
