"""How much work there is for workers: what an autoscaler asks. Every replica answers the same, for each asks Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from synfarm.queue.keys import Keys
from synfarm.queue.presence import live_workers

__all__ = ["WorkCollector", "units_of_work"]

_KINDS = ("caption", "render")
_MOST = 100
"""Capabilities that are told: their names come from jobs, and each new label is kept for ever by who scrapes."""


class WorkCollector(Collector):
    """``synfarm_work_units``; without a sample while Redis is away, for "none" would end all workers."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis, self._keys = redis, keys

    def collect(self) -> Iterator[Metric]:
        words = "Units that wait in queues or are in work, for caption workers, all render workers, or a capability's."
        work = GaugeMetricFamily("synfarm_work_units", words, labels=["serves"])
        try:
            for name, units in units_of_work(self._redis, self._keys).items():
                work.add_metric([name], units)
        except RedisError:
            pass
        yield work


def units_of_work(redis: Redis, keys: Keys) -> dict[str, int]:
    """Messages in the queues and units in live workers' hands, by what serves them.

    Jobs of every contract count together: what an autoscaler starts is a worker, and it names no contract.
    A unit in work at a render worker of several capabilities counts for each of these, and once for ``render``.
    A message of a unit that needs nothing any more counts until a worker has thrown it away.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    client: Any = redis
    queues = sorted(client.hkeys(keys.sequences))  # all that were ever used since Redis' memory began
    pipe = client.pipeline(transaction=False)
    for queue in queues:
        pipe.llen(keys.queue(queue))
    lengths = pipe.execute() if queues else []
    units = Counter(dict.fromkeys(_KINDS, 0))
    for queue, length in zip(queues, lengths, strict=True):
        for name in _serving(queue):
            units[name] += length
    for worker in live_workers(redis, keys):
        for name in {worker.kind, *worker.capabilities}:
            units[name] += len(worker.units)
    capabilities = sorted(units.keys() - _KINDS, key=lambda name: (-units[name], name))[:_MOST]
    return {name: units[name] for name in (*_KINDS, *capabilities)}


def _serving(queue: str) -> tuple[str, ...]:
    """``caption.<lane>``, ``render.<capability>.<lane>``, each perhaps with a contract before the lane."""
    kind, *rest = queue.split(".")
    return (kind, rest[0]) if kind == "render" else (kind,)
