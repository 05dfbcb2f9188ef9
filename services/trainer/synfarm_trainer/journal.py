"""What rank 0 tells of a run: a local journal that the service follows, and metrics parts in the store."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import StepMetrics
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.patience import patiently

__all__ = ["Journal", "MetricsUploader", "leave_exit_record"]


class Journal:
    """Append-only JSON lines ``{"type", "at", "data"}``; each line is one write, so that a kill leaves whole lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)

    def write(self, kind: Literal["step", "checkpoint", "eval", "segment", "state"], data: Mapping[str, Any]) -> None:
        line = {"type": kind, "at": utc_now().isoformat(), "data": data}
        os.write(self._handle, json.dumps(line, allow_nan=False).encode() + b"\n")

    def close(self) -> None:
        os.close(self._handle)


class MetricsUploader:
    """A thread that uploads step metrics as numbered parts, every ``seconds`` and at the end."""

    def __init__(self, store: ObjectStore, run: str, attempt: int, *, seconds: float = 5.0) -> None:
        self._store, self._run, self._attempt, self._seconds = store, run, attempt, seconds
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._thread.start()

    def add(self, metrics: StepMetrics) -> None:
        self._lines.put(metrics.to_bytes() + b"\n")

    def close(self, timeout: float = 30.0) -> None:
        """Upload what is left; gives up after ``timeout`` seconds if the store is away."""
        self._lines.put(None)
        self._thread.join(timeout)

    def _work(self) -> None:
        part, ended = 0, False
        while not ended:
            lines: list[bytes] = []
            deadline: float | None = None
            while not ended:
                try:
                    left = None if deadline is None else max(0.0, deadline - time.monotonic())
                    line = self._lines.get(timeout=left)
                except queue.Empty:
                    break
                if line is None:
                    ended = True
                else:
                    lines.append(line)
                    deadline = deadline or time.monotonic() + self._seconds
            if lines:
                key = layout.metrics_part(self._run, self._attempt, part)
                patiently(self._store.put, key, b"".join(lines), content_type="application/jsonl")
                part += 1


def leave_exit_record(path: Path, reason: str, detail: str | None, step: int) -> bool:
    """Say why this start ended; of several ranks the first one's words stand. True if these are them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"reason": reason, "detail": detail, "step": step}))
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True
