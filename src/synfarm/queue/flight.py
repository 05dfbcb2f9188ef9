"""What is in flight: sends, claims and leases, as the feeder must see them to repair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from redis import Redis

from synfarm.contracts.renders import Stage
from synfarm.queue.clock import Clock
from synfarm.queue.keys import Keys
from synfarm.queue.scripts import RECORD_SEND

__all__ = ["Flight", "Holder", "Sent"]


@dataclass(frozen=True, slots=True)
class Sent:
    """The last message sent for a unit. ``at`` in seconds of the farm's clock."""

    stage: Stage
    queue: str
    sequence: int
    at: float


@dataclass(frozen=True, slots=True)
class Holder:
    """What a lease, and the claim that outlives it, say of their worker."""

    attempt: str
    worker: str
    stage: Stage
    queue: str
    sequence: int


_SENT = TypeAdapter(Sent)
_HOLDER = TypeAdapter(Holder)


class Flight:
    """The sent-table and the claims. Bounded by the window, never by the job."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self._redis: Any = redis
        self._keys, self._clock = keys, clock
        self._record = redis.register_script(RECORD_SEND)

    def record_send(self, job: str, unit: int, stage: Stage, queue: str) -> int:
        """Note a send and give it the next sequence of its queue."""
        keys = [self._keys.sequences, self._keys.sent(job), self._keys.sends(job), self._keys.job(job)]
        args = [unit, stage.value, queue, f"{self._clock.now():.6f}"]
        return int(self._record(keys=keys, args=args))

    def adopt(self, job: str, unit: int, holder: Holder) -> None:
        """Count a unit as sent that a living worker holds although the sent-table does not know it (lost memory)."""
        sent = Sent(holder.stage, holder.queue, holder.sequence, self._clock.now())
        self._redis.hset(self._keys.sent(job), unit, _SENT.dump_json(sent).decode())

    def sent(self, job: str) -> dict[int, Sent]:
        """Units in flight."""
        return {int(unit): _SENT.validate_json(value) for unit, value in self._hash(self._keys.sent(job)).items()}

    def claims(self, job: str) -> dict[int, Holder]:
        """Claims that no worker has released; without a lease their worker is lost."""
        return {int(unit): _HOLDER.validate_json(value) for unit, value in self._hash(self._keys.claims(job)).items()}

    def leases(self, job: str, units: Iterable[int]) -> dict[int, Holder]:
        """The living leases of ``units``; of two stages the later one."""
        wanted = [(unit, stage) for unit in units for stage in (Stage.CAPTION, Stage.RENDER)]
        if not wanted:
            return {}
        values = self._redis.mget([self._keys.lease(job, unit, stage.value) for unit, stage in wanted])
        pairs = zip(wanted, values, strict=True)
        return {unit: _HOLDER.validate_json(value) for (unit, _), value in pairs if value is not None}

    def in_flight(self, job: str) -> int:
        return int(self._redis.hlen(self._keys.sent(job)))

    def forget(self, job: str, units: Iterable[int]) -> None:
        """Drop everything known of finished units."""
        names = [str(unit) for unit in units]
        if not names:
            return
        pipe = self._redis.pipeline(transaction=False)
        pipe.hdel(self._keys.sent(job), *names)
        pipe.hdel(self._keys.claims(job), *names)
        pipe.hdel(self._keys.sends(job), *(f"{stage.value}:{name}" for name in names for stage in Stage))
        pipe.hdel(self._keys.faults(job), *(f"{kind}:{name}" for name in names for kind in ("unit", "lost_worker")))
        pipe.execute()

    def forget_all(self, job: str) -> None:
        """Everything unfinished counts as not sent: Redis lost its epoch."""
        self._redis.delete(self._keys.sent(job), self._keys.claims(job))

    def unsend(self, job: str, unit: int) -> None:
        self._redis.hdel(self._keys.sent(job), unit)

    def drop_claim(self, job: str, unit: int) -> None:
        self._redis.hdel(self._keys.claims(job), unit)

    def sends(self, job: str) -> dict[str, int]:
        """Messages sent by ``<stage>:<unit>``, for units that are not finished."""
        return {name: int(count) for name, count in self._hash(self._keys.sends(job)).items()}

    def claimed(self) -> dict[str, int]:
        """Highest sequence claimed by queue."""
        return {queue: int(sequence) for queue, sequence in self._hash(self._keys.claimed).items()}

    def queue_length(self, queue: str) -> int:
        return int(self._redis.llen(self._keys.queue(queue)))

    def _hash(self, key: str) -> Mapping[str, str]:
        answer: Mapping[str, str] = self._redis.hgetall(key)
        return answer
