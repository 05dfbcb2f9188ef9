"""Redis keys: every key of the live state is built here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from synfarm.contracts.layout import FAN

__all__ = ["Keys"]


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys below one namespace, so that several farms share a server."""

    namespace: str

    @property
    def queue_prefix(self) -> str:
        """Prefix of the broker's own keys; a queue is the list ``<prefix><queue>``."""
        return f"{self.namespace}:queue:"

    def queue(self, name: str) -> str:
        return self.queue_prefix + name

    @property
    def epoch(self) -> str:
        """Random id of Redis' memory: missing or changed means that the memory was lost."""
        return f"{self.namespace}:epoch"

    @property
    def leader(self) -> str:
        """Lock of the replica whose feeder works."""
        return f"{self.namespace}:leader"

    @property
    def beat(self) -> str:
        """Counts passes of feeders; a count that goes back tells of a Redis restarted from older memory."""
        return f"{self.namespace}:beat"

    @property
    def sequences(self) -> str:
        """Hash: queue -> sequence of the last message sent."""
        return f"{self.namespace}:sequences"

    @property
    def claimed(self) -> str:
        """Hash: queue -> highest sequence claimed by a worker."""
        return f"{self.namespace}:claimed"

    def job(self, job: str) -> str:
        """Hash: counters, watermark, stalled reasons of a job."""
        return f"{self.namespace}:job:{job}"

    def job_of(self, key: str) -> str:
        """The job of a key that begins as :meth:`job`."""
        return key.removeprefix(self.job("")).partition(":")[0]

    def bits(self, job: str, kind: str, unit: int) -> str:
        """Bitmap of 4,096 units: ``kind`` is committed, dead or written."""
        return f"{self.namespace}:job:{job}:{kind}:{unit // FAN}"

    def sent(self, job: str) -> str:
        """Hash: unit -> what was sent and when; it holds units in flight only."""
        return f"{self.namespace}:job:{job}:sent"

    def claims(self, job: str) -> str:
        """Hash: unit -> the last claim that has not been released."""
        return f"{self.namespace}:job:{job}:claims"

    def sends(self, job: str) -> str:
        """Hash: ``<stage>:<unit>`` -> messages sent for it."""
        return f"{self.namespace}:job:{job}:sends"

    def faults(self, job: str) -> str:
        """Hash: ``<class>:<unit>`` -> faults counted."""
        return f"{self.namespace}:job:{job}:faults"

    def flags(self, job: str) -> str:
        return f"{self.namespace}:job:{job}:flags"

    def events(self, job: str) -> str:
        return f"{self.namespace}:job:{job}:events"

    def bucket(self, key: str) -> str:
        """Token bucket of an API key, by the first digits of its hash."""
        return f"{self.namespace}:bucket:{key}"

    def room(self, owner: str) -> str:
        """Lock under which an owner's jobs are counted before one is added."""
        return f"{self.namespace}:room:{owner}"

    def timings(self, capability: str) -> str:
        """List: timings of the last units that were rendered."""
        return f"{self.namespace}:timings:{capability}"

    @property
    def throughput(self) -> str:
        """Hash: capability -> images a second of the whole farm, smoothed."""
        return f"{self.namespace}:throughput"

    def lease(self, job: str, unit: int, stage: str) -> str:
        return f"{self.namespace}:lease:{job}:{unit}:{stage}"

    @property
    def workers(self) -> str:
        """Set of worker ids; each has a key of its own that expires."""
        return f"{self.namespace}:workers"

    def served(self, capability: str) -> str:
        """There while a worker serves this, and a little longer: a restart is no absence. ``caption``: captions."""
        return f"{self.namespace}:served:{capability}"

    def worker(self, worker: str) -> str:
        return f"{self.namespace}:worker:{worker}"
