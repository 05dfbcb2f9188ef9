"""MLflow: a run tagged with ours, found again by every later start. ``MLFLOW_TRACKING_URI`` says where."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from synfarm_trainer.sinks.protocol import RecordKind, RunOpening
from synfarm_trainer.sinks.scalars import scalars

__all__ = ["MlflowRun"]

_TAG = "synfarm.run"
_AT_ONCE = 500
"""Of the 1,000 metrics and 100 parameters that the server takes in one request."""
_HELD_SECONDS = 5.0
_ENDINGS = {"completed": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowRun:
    """Metrics are held back for some seconds, because each request costs a round trip."""

    def __init__(self, experiment: str, opening: RunOpening) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._client = Metric, MlflowClient()
        self._held: list[Any] = []
        self._sent = time.monotonic()
        # A start that ends without a word (killed, or the whole trainer away) is no failure of the run.
        self._ending = "KILLED"
        spec = opening.spec
        known = self._client.get_experiment_by_name(experiment)
        place = known.experiment_id if known is not None else self._client.create_experiment(experiment)
        found = self._client.search_runs([place], f"tags.`{_TAG}` = '{spec.run}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        made = self._client.create_run(place, run_name=spec.name, tags={_TAG: spec.run, "synfarm.owner": spec.owner})
        self._id = made.info.run_id
        told = {"preset": spec.preset, "seed": spec.seed, "ranks": spec.ranks, **dict(_flat(spec.config))}
        params = [Param(name, str(value)[:500]) for name, value in told.items()]
        for begin in range(0, len(params), 100):
            self._client.log_batch(self._id, params=params[begin : begin + 100])

    def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
        if kind == "state":
            self._ending = _ENDINGS.get(str(data.get("state")), self._ending)
        elif (found := scalars(kind, data)) is not None:
            step, values = found
            now = int(time.time() * 1000)
            self._held += [self._metric(name, value, now, step) for name, value in values.items()]
        if len(self._held) >= _AT_ONCE or time.monotonic() - self._sent >= _HELD_SECONDS:
            self._send()

    def close(self) -> None:
        self._send()
        self._client.set_terminated(self._id, self._ending)

    def _send(self) -> None:
        held, self._held = self._held, []
        for begin in range(0, len(held), _AT_ONCE):
            self._client.log_batch(self._id, metrics=held[begin : begin + _AT_ONCE])
        self._sent = time.monotonic()


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
