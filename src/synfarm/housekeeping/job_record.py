"""One job as the store has it: its plan, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.generations import planned_by
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Ended
from synfarm.queue.specs import read_openings
from synfarm.storage.manifest_reader import ManifestDamaged, read_ended
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["JobRecord", "NoSuchJob", "newest_job", "read_job"]


class NoSuchJob(Exception):
    """There is no such job, or it is being deleted; the message says which."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What holds for the whole job at one moment."""

    spec: JobSpec
    """With its openings."""
    generation: int
    """The one that the job works on, or has ended last."""
    ended_keys: tuple[str, ...]
    """End records of all generations, in order."""
    has_ended: bool
    """The generation has its end record, and no feeder is told to work on the job."""

    def ended(self, store: ObjectStore) -> Ended | None:
        """The end record of the generation, if it has one.

        Raises:
            ManifestDamaged: it cannot be read.
        """
        key = layout.ended(self.spec.job, self.generation)
        return read_ended(store, key) if key in self.ended_keys else None


def read_job(store: ObjectStore, job: str) -> JobRecord:
    """The job now.

    Raises:
        NoSuchJob: there is none, or it is being deleted.
        ManifestDamaged: its spec or an opening cannot be read.
    """
    if store.head(layout.tombstone(job)) is not None:
        raise NoSuchJob(f"job {job} was deleted.")
    # In this order: a job that is opened meanwhile is then seen as one that runs.
    active = store.head(layout.active(job)) is not None
    ended_keys = tuple(info.key for info in store.list(layout.ended_prefix(job)))
    try:
        frozen = JobSpec.from_bytes(store.get(layout.job(job)))
        openings = read_openings(store, job)
    except ObjectMissing:
        raise NoSuchJob(f"there is no job {job} in this store.") from None
    except ValidationError as error:
        raise ManifestDamaged(layout.job_prefix(job), f"its spec cannot be read: {error}") from error
    generation = max((opening.generation for opening in openings), default=1)
    finished = layout.ended(job, generation) in ended_keys
    return JobRecord(planned_by(frozen, openings), generation, ended_keys, finished and not active)


def newest_job(store: ObjectStore) -> str | None:
    """The job that was made last: ids begin with their time."""
    for name in sorted(store.list_folders(layout.jobs_prefix()), reverse=True):
        try:
            if store.head(layout.job(name)) is not None and store.head(layout.tombstone(name)) is None:
                return name
        except ValueError:
            continue
    return None
