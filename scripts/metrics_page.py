"""Write the tables of docs/09-observability.md from the collectors of the services: `make metrics-page`.

Each table stands between two comments of the page; a test compares them with the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError

from synfarm.contracts.base import utc_now
from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.keys import Keys
from synfarm.queue.worker_metrics import UnitMetrics, WorkerCollector
from synfarm_caption_api.api.metrics import ApiMetrics
from synfarm_caption_api.api.work_metrics import WorkCollector
from synfarm_caption_api.feeder.run import FeederPulse
from synfarm_caption_api.llm.metrics import LlmMetrics
from synfarm_llm_server.metrics import LlmMetrics as ServerMetrics
from synfarm_render_worker.device_clock import DeviceClock
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_trainer.api.gauges import RunGauges

__all__ = ["Exported", "exported", "page_with_tables"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "09-observability.md"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@dataclass(frozen=True, slots=True)
class Exported:
    """One metric as `/metrics` names it: a counter with `_total`."""

    name: str
    kind: str
    labels: tuple[str, ...]
    words: str

    @property
    def series(self) -> tuple[str, ...]:
        """Names that a query may use."""
        base = self.name.removesuffix("_total") if self.kind == "counter" else self.name
        return tuple(base + suffix for suffix in SUFFIXES[self.kind])

    @property
    def unit(self) -> str:
        base = self.name.removesuffix("_total")
        for pattern, unit in _UNITS:
            if re.search(pattern, base):
                return unit
        return "count"


_UNITS = (
    ("per_second$", "1/s"),
    ("seconds(_per_step)?$|_duration$", "seconds"),
    ("bytes$", "bytes"),
    ("share$|_mfu|_top1$", "0 to 1"),
    ("leading$|_hung$|_draining$|_loading$|_failing$|_state$", "0 or 1"),
    ("tokens$|_length$", "tokens"),
    ("images$", "images"),
    ("_loss$|_monitor$|_epoch$|_reading$", "as named"),
)


def exported() -> dict[str, list[Exported]]:
    """The metrics of each process, by the name of its scrape job."""
    info = WorkerInfo(id="w", kind="render", started_at=utc_now())
    presence = cast(Any, SimpleNamespace(info=lambda: info, hangs=lambda: False))
    api = ApiMetrics(FeederPulse()).registry
    LlmMetrics(api)
    api.register(WorkCollector(cast(Any, SimpleNamespace(hkeys=_no_redis)), Keys("page")))
    captions = CollectorRegistry()
    LlmMetrics(captions)
    UnitMetrics("synfarm_caption_", captions)
    caption_info = info.model_copy(update={"kind": "caption"})
    captions.register(WorkerCollector(cast(Any, SimpleNamespace(info=lambda: caption_info, hangs=lambda: False))))
    renders = RenderMetrics()
    renders.watch(DeviceClock(), lambda: 0)
    renders.registry.register(WorkerCollector(presence))
    server = ServerMetrics()
    server.watch(cast(Any, SimpleNamespace(running=0, waiting=0, passes=0, prefix_hit_tokens=0)))
    trainer = CollectorRegistry()
    held = SimpleNamespace(seconds=lambda: {"cpu": 0.0, "gpu": 0.0})
    trainer.register(RunGauges(cast(Any, SimpleNamespace(restarts=0, age=0.0, held=held, snapshots=dict))))
    registries = {
        "caption-api": api,
        "caption-worker": captions,
        "render-worker": renders.registry,
        "llm-server": server.registry,
        "trainer": trainer,
    }
    return {name: sorted(_of(registry), key=lambda metric: metric.name) for name, registry in registries.items()}


def _no_redis(_: str) -> None:
    raise RedisError


def _of(registry: CollectorRegistry) -> Iterator[Exported]:
    for collector in registry._collector_to_names:  # the library has no public way to a metric's labels
        for family in collector.collect():
            labels = tuple(getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", None) or ())
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield Exported(name, family.type, labels, family.documentation)


def page_with_tables(text: str) -> str:
    """The page with every table made anew."""
    for service, metrics in exported().items():
        begin, end = f"<!-- metrics of {service} -->\n", f"<!-- end of {service} -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{PAGE.name}: the comments {begin.strip()} … {end} are not there")
        text = head + begin + _table(metrics) + end + tail
    return text


def _table(metrics: list[Exported]) -> str:
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels) or '–'} |"
        f" {metric.unit} | {metric.words} |"
        for metric in metrics
    ]
    return "\n".join(["| metric | kind | labels | unit | meaning |", "| --- | --- | --- | --- | --- |", *rows]) + "\n"


def main() -> int:
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
