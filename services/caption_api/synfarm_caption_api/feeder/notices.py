"""What a job's webhook is to be told: written to the store before the fact can be forgotten, sent by another thread."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Ended
from synfarm.contracts.webhooks import Notice
from synfarm.storage.protocol import ObjectStore

__all__ = ["tell_end", "tell_stall"]


def tell_end(store: ObjectStore, spec: JobSpec, ended: Ended) -> None:
    """Call before the active mark goes: a feeder killed in between comes here again."""
    facts: dict[str, JsonValue] = {
        "state": ended.state.value,
        "reason": ended.reason,
        "generation": ended.generation,
        "counts": ended.counts.model_dump(mode="json"),
        "manifest_sha256": ended.manifest_sha256,
    }
    _post(store, spec, "job.ended", f"ended-{ended.generation}", facts)


def tell_stall(store: ObjectStore, spec: JobSpec, reason: str, hour: int) -> None:
    """A job that stalls again and again tells so once an hour."""
    _post(store, spec, "job.stalled", f"stalled-{hour}", {"state": "running", "stalled": reason})


def _post(store: ObjectStore, spec: JobSpec, kind: str, event: str, facts: Mapping[str, JsonValue]) -> None:
    if store.head(layout.webhook(spec.job)) is None or store.head(layout.delivery(spec.job, event)) is not None:
        return
    at = utc_now()
    data: dict[str, JsonValue] = {"job": spec.job, "name": spec.name, **facts}
    body: dict[str, JsonValue] = {"type": kind, "timestamp": at.isoformat(), "data": data}
    store.create(layout.notice(spec.job, event), Notice(job=spec.job, event=event, body=body, at=at).to_bytes())
