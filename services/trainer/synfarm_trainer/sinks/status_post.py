"""A run's progress posted to a URL: the record that a Kubeflow TrainJob's status endpoint takes (KEP-2779)."""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from pydantic import JsonValue

from synfarm.contracts.base import utc_now
from synfarm.contracts.trainer_status import TrainerReport
from synfarm_trainer.sinks.protocol import RecordKind, RunOpening
from synfarm_trainer.trainer_status import trainer_status

__all__ = ["StatusPost"]

_WINDOW = 50
_MOST_FAILURES = 20
"""Posts in a row that may fail: a status that is late is worth nothing, so that none is sent again."""


class StatusPost:
    """The newest numbers every ``seconds`` and at the end."""

    def __init__(
        self,
        url: str,
        opening: RunOpening,
        *,
        seconds: float = 10.0,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        verify = ssl.create_default_context(cafile=str(ca_file)) if ca_file is not None else True
        self._http = httpx.Client(timeout=5.0, verify=verify, transport=transport)
        self._url, self._seconds, self._token_file = url, seconds, token_file
        self._total, self._step, self._epoch = opening.total_steps, opening.resumed_step, 0.0
        self._losses: Mapping[str, float] = {}
        self._speeds: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        self._evals: dict[str, JsonValue] = {}
        self._next, self._failures, self._news = 0.0, 0, False

    def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
        if kind == "step":
            self._step, self._epoch, self._losses = data["step"], data["epoch"], data["losses"]
            self._speeds.append((data["seconds"], data["images_per_second"]))
        elif kind == "eval":
            named = self._evals.setdefault(str(data["step"]), {})
            if isinstance(named, dict):
                named[str(data["name"])] = dict(data)
        self._news = True
        if time.monotonic() >= self._next:
            self._post()

    def close(self) -> None:
        try:
            if self._news:
                self._post()
        finally:
            self._http.close()

    def _post(self) -> None:
        self._next, self._news = time.monotonic() + self._seconds, False
        count = len(self._speeds)
        seconds, rates = (sum(column) / count for column in zip(*self._speeds, strict=True)) if count else (None, None)
        status = trainer_status(
            step=self._step,
            total=self._total,
            epoch=self._epoch,
            losses=self._losses,
            images_per_second=rates,
            remaining_seconds=None if seconds is None else (self._total - self._step) * seconds,
            evals=self._evals,
            at=utc_now(),
        )
        headers = {"Content-Type": "application/json"}
        if self._token_file is not None:
            # Read each time: such tokens are replaced while a run goes on.
            headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        body = TrainerReport(trainerStatus=status).model_dump_json(exclude_none=True)
        try:
            self._http.post(self._url, content=body, headers=headers).raise_for_status()
            self._failures = 0
        except httpx.HTTPError:
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                raise
