"""The compose project of `make e2e-compose`: its own name, ports, tags and secrets, its commands, and a clock."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
FILES = "docker-compose.yml docker-compose.replicas.yml"
PORTS = ("API", "TRAINER", "STORE", "STORE_CONSOLE", "PROMETHEUS", "GRAFANA")
LONG_RUNNING = (
    *("redis", "store", "llm-server", "caption-api", "proxy", "caption-worker", "render-worker", "trainer"),
    *("prometheus", "grafana"),
)
T = TypeVar("T")


class Failed(RuntimeError):
    """A step did not do what it promises; the message says which."""


def say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(*command: str, env: dict[str, str] | None = None, stdin: str | None = None, timeout: float = 120) -> str:
    """Standard output of a command.

    Raises:
        Failed: it ended with another code than 0, or took too long.
    """
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=env, input=stdin, capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command)}: no end after {timeout:g} s") from error
    if done.returncode:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-6000:]}")
    return done.stdout


def until(what: str, ask: Callable[[], T | None], seconds: float) -> T:
    """What ``ask`` says once it says something.

    Raises:
        Failed: it has said nothing for ``seconds``.
    """
    end, last = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        try:
            if (answer := ask()) is not None:
                return answer
        except (Failed, ValueError) as error:
            last = str(error)
        time.sleep(1)
    raise Failed(f"{what}: not after {seconds:g} s. {last}")


def engine_missing() -> str | None:
    """Why there is nothing to run on, or None."""
    for tool in ("docker", "curl"):
        if shutil.which(tool) is None:
            return f"the command {tool!r} is not installed"
    for command, what in (
        (("docker", "info"), "no Docker engine answers"),
        (("docker", "compose", "version"), "docker compose (v2) is not installed"),
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            return f"{what}: {' '.join(done.stderr.split())}"
    return None


def free_ports(count: int) -> list[int]:
    """Below those that `make demo` takes."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(10_000, 15_000), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise Failed("no free ports between 10000 and 15000")


def _secrets() -> dict[str, str]:
    """Those that the run uses, of its own, so that any place which tells them can be found."""
    return {f"SYNFARM_STORE_{name}_KEY": secrets.token_hex(16) for name in ("ACCESS", "SECRET")}


@dataclass
class Stack:
    """One compose project of its own, in a folder for what it writes; its ports in the order of ``PORTS``."""

    project: str
    ports: list[int]
    folder: Path
    times: list[tuple[str, float, str]] = field(default_factory=list)
    blows: list[tuple[float, str]] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=_secrets)
    long_running: set[str] = field(default_factory=lambda: set(LONG_RUNNING))

    def port(self, name: str) -> int:
        return self.ports[PORTS.index(name)]

    @property
    def swaps(self) -> Path:
        """A compose file that stands on the others: other images under the same services."""
        return self.folder / "swaps.yml"

    def swap(self, images: dict[str, str], without: set[str]) -> None:
        """Give services other images, everything else as it was; leave others out.

        `include` is merged before this file, so the services of an included file can be named (Docker's reference of
        `include`: "Using overrides in the included compose files").
        """
        lines = [f"  {service}: {{image: {json.dumps(image)}}}" for service, image in sorted(images.items())]
        lines += [f"  {service}: !reset null" for service in sorted(without)]
        # Compose refuses `services:` with nothing below it ("services must be a mapping").
        if lines:
            self.swaps.write_text("\n".join(["services:", *lines, ""]))
        self.long_running -= without

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNFARM_PORT")}
        return {
            **kept,
            **{f"SYNFARM_PORT_{name}": str(port) for name, port in zip(PORTS, self.ports, strict=True)},
            **self.secrets,
            "SYNFARM_TAG": self.project,
            "COMPOSE_PROGRESS": "plain",
            "COMPOSE_ANSI": "never",
        }

    def compose(self, *arguments: str, timeout: float = 120) -> str:
        files = os.environ.get("E2E_COMPOSE_FILES", FILES).split()
        files += [str(self.swaps)] if self.swaps.exists() else []
        options = [word for file in files for word in ("--file", file)]
        options += ["--project-name", self.project, "--profile", "observability"]
        return run("docker", "compose", *options, *arguments, env=self.env, timeout=timeout)

    def curl(self, port: str, path: str, body: object = None) -> Any:
        """What the service behind a port of ``PORTS`` answers, which is JSON."""
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--max-time", "30"]
        command.append(f"http://127.0.0.1:{self.port(port)}{path}")
        if body is not None:
            command += ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
        return json.loads(run(*command))

    def api(self, path: str, body: object = None) -> Any:
        return self.curl("API", path, body)

    def trainer(self, path: str, body: object = None) -> Any:
        return self.curl("TRAINER", path, body)

    def states(self) -> list[tuple[str, str, str]]:
        """(service, container, health; its state if it has no check) of each container."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        found = [json.loads(line) for line in lines if line]
        told = [
            (item["Service"], item["Name"], item["Health"] or f"{item['State']} {item['ExitCode']}") for item in found
        ]
        return sorted(told)

    def containers(self, service: str) -> list[str]:
        return [container for name, container, _ in self.states() if name == service]

    def all_healthy(self) -> bool | None:
        states = self.states()
        healthy = {name for name, _, _ in states} >= self.long_running
        healthy = healthy and all(health == "healthy" for name, _, health in states if name in self.long_running)
        return True if healthy else None

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[list[str]]:
        """Time a step; what is put into the list stands beside it in the table."""
        say(f"== {name}")
        began = time.monotonic()
        notes: list[str] = []
        yield notes
        self.times.append((name, time.monotonic() - began, "; ".join(notes)))
        say(f"   {self.times[-1][1]:.1f} s  {self.times[-1][2]}")
