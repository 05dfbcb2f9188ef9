"""The farm as Prometheus sees it: told by the replica whose feeder leads, so that a sum over replicas counts once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from synfarm.contracts.captions import DropReason
from synfarm.contracts.jobs import JobState
from synfarm.contracts.renders import Stage
from synfarm_caption_api.feeder.farm_record import FarmPicture, FarmRecord, Totals
from synfarm_caption_api.feeder.picture import STALLS, UNIT_STATES, WORKER_STATES

__all__ = ["FarmCollector"]

_PREFIX = "synfarm_farm_"
_MOST = 100
"""Capabilities, and queues, that are told apart: their names come from jobs, and each new label is kept for ever."""
_OTHER = "other"
"""No capability's name: those end in their size class."""
_TOTALS = {
    "captions": "Captions written that the quality gate kept.",
    "draws": "Texts asked of the language model for captions, refused ones too.",
    "images": "Images committed.",
    "bytes": "Bytes of committed shards.",
    "empty": "Captions left empty for good, committed with their reason.",
    "units_committed": "Units committed.",
    "units_dead": "Units given up: dead letters.",
    "repairs": "Units sent again because a worker or a message was lost.",
    "resends": "Messages beyond the first for a unit's stage, whatever the reason.",
    "lost_workers": "Leases that expired with their unit claimed: the worker was lost, or hung.",
}


class FarmCollector(Collector):
    """Asks the record at each scrape; holds nothing itself."""

    def __init__(self, record: FarmRecord) -> None:
        self._record = record

    def collect(self) -> Iterator[Metric]:
        yield from _counters(self._record.totals)
        # A replica that does not lead shows the names alone.
        yield from _gauges(self._record.picture)


def _counters(totals: Totals) -> Iterator[Metric]:
    for name, words in _TOTALS.items():
        yield CounterMetricFamily(_PREFIX + name, words, value=totals.plain.get(name, 0))
    refused = CounterMetricFamily(
        f"{_PREFIX}refused", "Texts that the quality gate refused, by reason.", labels=["reason"]
    )
    for reason in DropReason:
        refused.add_metric([reason.value], totals.refused.get(reason.value, 0))
    ended = CounterMetricFamily(f"{_PREFIX}jobs_ended", "Jobs that have ended, by how.", labels=["state"])
    for state in JobState:
        if state.is_final:
            ended.add_metric([state.value], totals.ended.get(state, 0))
    yield from (refused, ended)


def _gauges(now: FarmPicture | None) -> Iterator[Metric]:
    jobs = _gauge("jobs", "Jobs that have not ended, by state.", "state")
    stalled = _gauge("stalled_jobs", "Jobs that may run and do not get on, by what is in the way.", "reason")
    units = _gauge("units", "Units of jobs that have not ended, by what they wait for.", "capability", "state")
    oldest = _gauge("oldest_unit_seconds", "Since the last message for the unit longest in flight.", "stage")
    missing = _gauge("missing_images", "Images that jobs which may run still lack.")
    queues = _gauge("queue_messages", "Messages that wait in a queue with units in flight.", "queue")
    workers = _gauge("workers", "Live workers, by kind and by what they do.", "kind", "state")
    if now is not None:
        for state in JobState:
            if not state.is_final:
                jobs.add_metric([state.value], now.jobs.get(state, 0))
        for reason in STALLS:
            stalled.add_metric([reason], now.stalled.get(reason, 0))
        for capability, held in _told(now.units).items():
            for unit_state in UNIT_STATES:
                units.add_metric([capability, unit_state], held.get(unit_state, 0))
        for stage in Stage:
            oldest.add_metric([stage.value], now.oldest.get(stage.value, 0.0))
        missing.add_metric([], now.missing_images)
        longest = sorted(now.queues.items(), key=lambda item: (-item[1], item[0]))
        for queue, length in sorted(longest[:_MOST]):
            queues.add_metric([queue], length)
        if rest := longest[_MOST:]:
            queues.add_metric([_OTHER], sum(length for _, length in rest))
        for kind in ("caption", "render"):
            for worker_state in WORKER_STATES:
                workers.add_metric([kind, worker_state], now.workers.get((kind, worker_state), 0))
    yield from (jobs, stalled, units, oldest, missing, queues, workers)


def _told(units: Mapping[tuple[str, str], int]) -> dict[str, Counter[str]]:
    """Units by capability and state; beyond the largest ``_MOST`` capabilities as one."""
    held: dict[str, Counter[str]] = {}
    for (capability, state), count in units.items():
        held.setdefault(capability, Counter())[state] += count
    largest = sorted(held, key=lambda name: (-held[name].total(), name))
    told = {name: held[name] for name in sorted(largest[:_MOST])}
    if rest := largest[_MOST:]:
        told[_OTHER] = sum((held[name] for name in rest), Counter())
    return told


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, words, labels=labels)
