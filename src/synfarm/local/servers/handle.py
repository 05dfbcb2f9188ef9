"""One server as a child of this process, without a supervisor: start, wait until ready, kill, start again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from synfarm.local import launch
from synfarm.local.probes import Probe
from synfarm.local.process import ProcessSpec

__all__ = ["LocalServer", "ServerFailed", "clean_environment"]


class ServerFailed(RuntimeError):
    """The server is not installed, died, or did not become ready: the message ends with what to do."""


def clean_environment(home: Path) -> dict[str, str]:
    """Nothing of the user's shell: no proxy, no cloud credentials, no configuration in the home folder."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8"}


async def _ask(probe: Probe) -> str | None:
    return await probe()


class LocalServer:
    """One server as a child of this process: it dies with the *thread* that started it, at the latest."""

    def __init__(self, spec: ProcessSpec, log: Path) -> None:
        self.spec = spec
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the living server."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it, without waiting.

        Raises:
            RuntimeError: it runs already.
        """
        if self.pid is not None:
            raise RuntimeError(f"{self.spec.name} runs already as process {self.pid}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, launch.__file__, str(os.getpid()), *self.spec.command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=dict(self.spec.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )

    def wait_ready(self) -> None:
        """Return when it answers.

        Raises:
            ServerFailed: it died, or took longer than its spec allows.
        """
        deadline = time.monotonic() + self.spec.ready_timeout
        missing: str | None = "not started"
        while time.monotonic() < deadline:
            if self.pid is None:
                raise ServerFailed(f"{self.spec.name} ended; its log is {self.log}; {self.spec.cure}")
            missing = self._probe()
            if missing is None:
                return
            time.sleep(0.05)
        raise ServerFailed(f"{self.spec.name} is not ready ({missing}); its log is {self.log}; {self.spec.cure}")

    def _probe(self) -> str | None:
        """Ask once, in a thread of its own: the caller may stand inside an event loop."""
        if self.spec.probe is None:
            return None
        answer: list[str | None] = ["no answer"]

        def ask(probe: Probe = self.spec.probe) -> None:
            answer[0] = asyncio.run(_ask(probe))

        thread = threading.Thread(target=ask, name=f"probe-{self.spec.name}")
        thread.start()
        thread.join()
        return answer[0]

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; no error if it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """The spec's stop signal, then SIGKILL; no error if it is gone."""
        if self._process is None:
            return
        self._process.send_signal(self.spec.stop_signal)
        try:
            self._process.wait(self.spec.stop_timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def bring_up(self) -> None:
        """Start it and wait until it is ready; if it does not become so, nothing of it is left.

        Raises:
            RuntimeError: it runs already.
            ServerFailed: it died, or took longer than its spec allows.
        """
        self.start()
        try:
            self.wait_ready()
        except ServerFailed:
            self.kill()
            raise

    def restart(self) -> None:
        """Start it again, on the same ports and data (killing it if it lives), and wait until it is ready."""
        self.kill()
        self.bring_up()
