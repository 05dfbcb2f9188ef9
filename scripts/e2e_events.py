"""Follows a job's event stream as a user would by `curl -N`: over every break, by `Last-Event-ID`."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import Any

FINAL = {"completed", "completed_with_errors", "cancelled", "failed"}
_TIMED_OUT = 28
"""curl's exit code when --max-time has passed."""


class Following(threading.Thread):
    """Begun at once; ``state`` is the last one told, ``breaks`` counts connections that ended before the job did."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._stopped = url, False
        self.ids: list[str] = []
        self.breaks = self.resets = 0
        self.state: str | None = None
        self.start()

    @property
    def ended(self) -> bool:
        return self.state in FINAL

    def stop(self) -> None:
        self._stopped = True

    def repeated(self) -> list[str]:
        """Ids that came twice; after a break the stream must go on behind the last one."""
        return sorted({one for one in self.ids if self.ids.count(one) > 1})

    def run(self) -> None:
        while not self._is_over():
            command = ["curl", "--silent", "--no-buffer", "--fail", "--noproxy", "*", "--max-time", "60", self._url]
            if self.ids:
                command += ["--header", f"Last-Event-ID: {self.ids[-1]}"]
            data = ""
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
                assert curl.stdout is not None
                for line in curl.stdout:
                    # An event is whole at the empty line behind it; what a break has cut off is told again.
                    if line.startswith("data:"):
                        data = line.removeprefix("data:")
                    elif line.strip() == "" and data:
                        self._take(json.loads(data))
                        data = ""
                    if self._is_over():
                        curl.kill()
            if not self._is_over():
                # Our own bound ends a connection too, and proves nothing.
                self.breaks += curl.returncode != _TIMED_OUT
                time.sleep(0.2)

    def _is_over(self) -> bool:
        return self.ended or self._stopped

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "reset":  # the whole state; its id may be one that was told before
            self.resets += 1
        elif event["type"] != "heartbeat":
            self.ids.append(event["id"])
        if event["type"] in {"state", "reset"}:
            self.state = event["data"].get("state", self.state)
