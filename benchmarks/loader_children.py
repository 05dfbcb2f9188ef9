"""Contestants of ``bench_loader.py`` seen from outside: started, asked, and what their processes cost together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synfarm.local import launch

__all__ = ["Child", "ChildFailed", "child"]

_TICK = os.sysconf("SC_CLK_TCK")


class ChildFailed(Exception):
    """The message names its log."""


@dataclass
class Child:
    process: subprocess.Popen[str]
    log: Path

    def ask(self, do: str, **more: object) -> Any:
        """
        Raises:
            ChildFailed: it ended instead of answering.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise ChildFailed(f"it ended when it was asked to {do}; its log is {self.log}")
        return json.loads(line)

    def cpu(self) -> float:
        """Processor seconds of all processes of its session, those that ended and were waited for included."""
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:
                total += sum(int(x) for x in fields[11:15])
        return total / _TICK

    def settle(self, patience: float = 20.0) -> None:
        """Wait until it has read ahead as far as it does, so that it leaves the processors to the others."""
        until, before = time.monotonic() + patience, self.cpu()
        while time.monotonic() < until:
            time.sleep(0.25)
            now = self.cpu()
            if now - before <= 0.02:
                return
            before = now

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()


@contextmanager
def child(
    name: str, setting: Path, log: Path, *, paths: Sequence[Path] = (), overrides: Mapping[str, object] | None = None
) -> Iterator[Child]:
    """A contestant at work; it and its workers are gone afterwards.

    Args:
        paths: folders whose packages it has before all others.
    """
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*(str(path) for path in paths), *known])}
    env |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    told = json.loads(setting.read_text())
    facts = {
        "AWS_ACCESS_KEY_ID": told["access_key"],
        "AWS_SECRET_ACCESS_KEY": told["secret_key"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "S3_ENDPOINT_URL": f"http://{told['endpoint']}",
    }
    # It dies with this process, whatever it is doing.
    command = [sys.executable, launch.__file__, str(os.getpid())]
    command += [sys.executable, str(Path(__file__).with_name("loader_child.py")), name, str(setting)]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [*command, json.dumps(dict(overrides or {}))],
            env={**env, **facts},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    found = Child(process, log)
    try:
        yield found
    finally:
        found.kill()
