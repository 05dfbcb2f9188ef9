"""`synfarm workers`: who works on the farm's units now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from synfarm.cli.farm import Farm
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.tables import span, table

if TYPE_CHECKING:
    from synfarm.contracts.workers import WorkerInfo

__all__ = ["workers"]

_SHOWN = 3


@on_farm
def workers(farm: Farm, as_json: Json = False) -> None:
    """Living workers: what they serve, on which units they work, how long since the last progress."""
    with farm.client() as client:
        found = client.workers()
    if as_json:
        write_json(found)
        return
    if not found.items:
        say(errors(), "No worker is alive: nothing is written or drawn until one comes.")
        return
    rows = table(
        "worker", "kind", "serves", "model", "units", "progress", "up for", "gpu", right=("progress", "up for")
    )
    for worker in found.items:
        units = list(worker.units[:_SHOWN]) + ([f"+{len(worker.units) - _SHOWN}"] if len(worker.units) > _SHOWN else [])
        rows.add_row(
            f"{worker.host}:{worker.pid}" + (" (draining)" if worker.draining else ""),
            worker.kind,
            ", ".join(worker.capabilities) or "-",
            _model(worker),
            "\n".join(units) or "-",
            span(worker.progress_age_seconds),
            span(max(0.0, time.time() - worker.started_at.timestamp())),
            worker.gpu or "-",
        )
    output().print(rows)
    for worker in found.items:
        if worker.trouble:
            say(errors(), f"{worker.host}:{worker.pid} could not load: {worker.trouble}", "yellow")


def _model(worker: WorkerInfo) -> str:
    return f"loads {worker.loading}" if worker.loading else worker.model or "-"
