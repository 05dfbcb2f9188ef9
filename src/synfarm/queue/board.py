"""Live state of jobs in Redis: marks, counters, faults and stalled reasons; rebuilt from the store when lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from redis import Redis
from ulid import ULID

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.commits import Commit
from synfarm.contracts.layout import FAN
from synfarm.contracts.manifests import Counts, ManifestLine
from synfarm.contracts.renders import Stage
from synfarm.queue.clock import Clock
from synfarm.queue.flight import Flight
from synfarm.queue.keys import Keys
from synfarm.queue.scripts import MARK_COMMITTED, MARK_DEAD, MARK_WRITTEN

__all__ = ["Board", "JobCounters", "Stall"]

_KINDS = ("committed", "dead", "written")


@dataclass(frozen=True, slots=True)
class Stall:
    """Environment faults of one stage since its last success. ``at`` in seconds of the farm's clock."""

    reason: str
    faults: int
    at: float


@dataclass(frozen=True, slots=True)
class JobCounters:
    """A job's live counters; all zero and not seeded before the feeder met the job, or after a flush."""

    seeded: str | None = None
    """Epoch in which the feeder set the counters up."""
    watermark: int = 0
    frontier: int = 0
    """Highest unit ever sent, plus one."""
    counts: Counts = field(default_factory=Counts)
    written: int = 0
    draws: int = 0
    rejections: dict[str, int] = field(default_factory=dict)
    repairs: int = 0
    sends: int = 0
    resends: int = 0
    """Messages beyond the first for a unit's stage."""
    lost_workers: int = 0
    held_up: str | None = None
    """What the feeder sees in the way: no worker serves the job, an object cannot be read."""
    stalls: dict[Stage, Stall] = field(default_factory=dict)
    images_per_second: float | None = None
    in_flight: int = 0

    @property
    def outages(self) -> list[str]:
        """The environment faults of each stage, in words."""
        return [f"{stage.value}: {stall.reason}" for stage, stall in sorted(self.stalls.items())]

    @property
    def stalled(self) -> str | None:
        """The sentence shown beside ``running``, if the job is held up."""
        return "; ".join(self.outages) or self.held_up


class Board:
    """What workers write and everyone reads. Every method may raise redis.exceptions.RedisError."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self._redis: Any = redis
        self._keys, self._clock = keys, clock
        self._committed = redis.register_script(MARK_COMMITTED)
        self._dead = redis.register_script(MARK_DEAD)
        self._written = redis.register_script(MARK_WRITTEN)
        self.flight = Flight(redis, keys, clock)

    # Marks: a counter rises only when the unit's bit was 0.

    def mark_captions(self, job: str, unit: int, records: Sequence[CaptionRecord]) -> bool:
        """After the JSONL was created (by whomever): count its captions, draws and rejections, once a unit."""
        rejections: Counter[str] = Counter()
        for record in records:
            rejections.update({reason.value: count for reason, count in record.rejections.items()})
        written = sum(record.text is not None for record in records)
        return self.mark_written(job, unit, written, sum(record.draws for record in records), rejections)

    def mark_written(self, job: str, unit: int, written: int, draws: int, rejections: Mapping[str, int]) -> bool:
        """As :meth:`mark_captions`, from sums."""
        pairs = [value for pair in rejections.items() for value in pair]
        keys = [self._keys.job(job), self._keys.bits(job, "written", unit)]
        return int(self._written(keys=keys, args=[unit, unit % FAN, written, draws, *pairs])) == 1

    def mark_commit(self, commit: Commit) -> bool:
        """After the commit was created: count its unit, captions, images, bytes. True if it was not counted before."""
        return self.mark_committed(commit.job, commit.unit, ManifestLine.of(commit).counts)

    def mark_committed(self, job: str, unit: int, counts: Counts) -> bool:
        """As :meth:`mark_commit`, from counts."""
        args = [unit, unit % FAN, counts.captions, counts.images, counts.empty, counts.bytes]
        return int(self._committed(keys=self._unit_keys(job, unit), args=args)) == 1

    def mark_dead(self, job: str, unit: int) -> bool:
        """Count a dead unit, unless it is committed."""
        return int(self._dead(keys=self._unit_keys(job, unit), args=[unit, unit % FAN])) == 1

    def is_committed(self, job: str, unit: int) -> bool:
        """Whether the unit was marked; False says nothing (ask the store)."""
        return bool(self._redis.getbit(self._keys.bits(job, "committed", unit), unit % FAN))

    # Counters.

    def counters(self, job: str) -> JobCounters:
        """One reading of all counters of a job."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hgetall(self._keys.job(job))
        pipe.hlen(self._keys.sent(job))
        fields, in_flight = pipe.execute()
        return _counters(fields, int(in_flight))

    def seed(
        self,
        job: str,
        epoch: str,
        *,
        watermark: int,
        frontier: int,
        counts: Counts,
        draws: int,
        rejections: Mapping[str, int],
    ) -> None:
        """Set the counters to the sums below ``watermark`` and clear all marks above it; marks count from here on."""
        values: dict[str, str | int] = {
            "seeded": epoch,
            "watermark": watermark,
            "frontier": frontier,
            "committed": counts.units_committed,
            "dead": counts.units_dead,
            "captions": counts.captions,
            "images": counts.images,
            "empty": counts.empty,
            "bytes": counts.bytes,
            "written": counts.captions,
            "draws": draws,
        }
        old = [name for name in self._redis.hkeys(self._keys.job(job)) if name.startswith("rejected:")]
        pipe = self._redis.pipeline(transaction=True)
        if old:
            pipe.hdel(self._keys.job(job), *old)
        pipe.hset(self._keys.job(job), mapping={**values, **{f"rejected:{k}": v for k, v in rejections.items()}})
        for fan in range(watermark // FAN, frontier // FAN + 1):
            pipe.delete(*(self._keys.bits(job, kind, fan * FAN) for kind in _KINDS))
        pipe.execute()

    def advance(self, job: str, old: int, new: int) -> None:
        """Move the watermark; bitmaps that lie wholly below it go."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.hset(self._keys.job(job), "watermark", new)
        for fan in range(old // FAN, new // FAN):
            pipe.delete(*(self._keys.bits(job, kind, fan * FAN) for kind in _KINDS))
        pipe.execute()

    def add(self, job: str, **amounts: int) -> None:
        """Raise plain counters: repairs, lost_workers."""
        pipe = self._redis.pipeline(transaction=False)
        for name, amount in amounts.items():
            pipe.hincrby(self._keys.job(job), name, amount)
        pipe.execute()

    # Faults.

    def count_fault(self, job: str, unit: int, kind: Literal["unit", "lost_worker"]) -> int:
        """Count a fault of a unit; how many of this class it has had."""
        return int(self._redis.hincrby(self._keys.faults(job), f"{kind}:{unit}", 1))

    def environment_fault(self, job: str, stage: Stage, reason: str) -> None:
        """Show the job as stalled; the feeder backs off until the stage succeeds again."""
        now = self._clock.now()
        last = float(self._redis.hget(self._keys.job(job), f"stalled_at:{stage}") or "-inf")
        pipe = self._redis.pipeline(transaction=True)
        pipe.hset(self._keys.job(job), mapping={f"stalled:{stage}": reason[:500], f"stalled_at:{stage}": now})
        # Units that fail together are one outage, not a reason to wait exponentially longer.
        pipe.hincrby(self._keys.job(job), f"stalls:{stage}", int(now - last >= 1))
        pipe.execute()

    def succeeded(self, job: str, stage: Stage) -> None:
        """The stage works again."""
        self._redis.hdel(self._keys.job(job), f"stalled:{stage}", f"stalled_at:{stage}", f"stalls:{stage}")

    def set_rate(self, job: str, images_per_second: float) -> None:
        """The feeder's measurement of the last half minute."""
        self._redis.hset(self._keys.job(job), "rate", round(images_per_second, 3))

    def set_held_up(self, job: str, reason: str | None) -> None:
        """Show what is in the way of a job, or that nothing is."""
        if reason is None:
            self._redis.hdel(self._keys.job(job), "held_up")
        else:
            self._redis.hset(self._keys.job(job), "held_up", reason[:500])

    # Memory.

    def epoch(self) -> str | None:
        """The id of Redis' present memory; None right after a flush."""
        value = self._redis.get(self._keys.epoch)
        return None if value is None else str(value)

    def ensure_epoch(self) -> str:
        """The id of Redis' present memory, made if there is none."""
        self._redis.set(self._keys.epoch, new_epoch(), nx=True)
        return str(self._redis.get(self._keys.epoch))

    def renew_epoch(self) -> str:
        """Begin a new memory: Redis came back with an older one."""
        epoch = new_epoch()
        self._redis.set(self._keys.epoch, epoch)
        return epoch

    def beat(self) -> int:
        """Count one pass; a count that went back tells of older memory."""
        return int(self._redis.incr(self._keys.beat))

    def drop(self, job: str, watermark: int, frontier: int) -> None:
        """Forget an ended job's work; its counters stay a day for readers, its events as long."""
        pipe = self._redis.pipeline(transaction=False)
        names = ("sent", "claims", "sends", "faults")
        pipe.delete(*(getattr(self._keys, name)(job) for name in names))
        for fan in range(watermark // FAN, frontier // FAN + 1):
            pipe.delete(*(self._keys.bits(job, kind, fan * FAN) for kind in _KINDS))
        pipe.expire(self._keys.job(job), 86_400)
        pipe.expire(self._keys.events(job), 86_400)
        pipe.execute()

    def forget(self, job: str) -> None:
        """Forget all live state of a job, as after a flush, but for its events, which go on if it does."""
        fields = self.counters(job)
        pipe = self._redis.pipeline(transaction=False)
        names = ("job", "sent", "claims", "sends", "faults", "flags")
        pipe.delete(*(getattr(self._keys, name)(job) for name in names))
        for fan in range(fields.watermark // FAN, fields.frontier // FAN + 1):
            pipe.delete(*(self._keys.bits(job, kind, fan * FAN) for kind in _KINDS))
        pipe.persist(self._keys.events(job))
        pipe.execute()

    def end_events(self, job: str, seconds: int) -> None:
        """Keep a job's events for so long only."""
        self._redis.expire(self._keys.events(job), seconds)

    def record_send(self, job: str, unit: int, stage: Stage, queue: str) -> int:
        """Note a send in the sent-table and return its sequence on ``queue``; called by the dispatcher."""
        return self.flight.record_send(job, unit, stage, queue)

    def _unit_keys(self, job: str, unit: int) -> list[str]:
        return [self._keys.job(job), self._keys.bits(job, "committed", unit), self._keys.bits(job, "dead", unit)]


def new_epoch() -> str:
    """Id of one memory of Redis; part of event ids."""
    return str(ULID()).lower()


def _counters(fields: Mapping[str, str], in_flight: int) -> JobCounters:
    def number(name: str) -> int:
        return int(fields.get(name, 0))

    counts = Counts(
        units_committed=number("committed"),
        units_dead=number("dead"),
        captions=number("captions"),
        images=number("images"),
        empty=number("empty"),
        bytes=number("bytes"),
    )
    stalls = {
        stage: Stall(fields[f"stalled:{stage}"], number(f"stalls:{stage}"), float(fields[f"stalled_at:{stage}"]))
        for stage in Stage
        if f"stalled:{stage}" in fields
    }
    return JobCounters(
        seeded=fields.get("seeded"),
        watermark=number("watermark"),
        frontier=number("frontier"),
        counts=counts,
        written=number("written"),
        draws=number("draws"),
        rejections={k.removeprefix("rejected:"): int(v) for k, v in fields.items() if k.startswith("rejected:")},
        repairs=number("repairs"),
        sends=number("sends"),
        resends=number("resends"),
        lost_workers=number("lost_workers"),
        held_up=fields.get("held_up"),
        stalls=stalls,
        images_per_second=float(fields["rate"]) if "rate" in fields else None,
        in_flight=in_flight,
    )
