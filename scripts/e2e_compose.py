"""`make e2e-compose`: the compose stack built and used as a user would, with blows in the middle; a table of times.

Build, up with two render workers and two caption-api behind one port, a job by curl; a render worker is killed, Redis
restarted, each caption-api killed in its turn, while the job's event stream is followed; the job completed, a run of 50
steps, all healthy, down. Project name, ports, image tags and volumes are its own; nothing stays but the build cache.
E2E_COMPOSE_FILES names other compose files than these two, E2E_CAPTIONS makes the job shorter or longer. Where
HAProxy's image cannot be pulled, Debian's package stands in for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from e2e_events import Following

ROOT = Path(__file__).resolve().parents[1]
T = TypeVar("T")

IMAGES = ("caption-api", "llm-server", "render-worker", "trainer")
CONCEPTS = ("dog", "cat", "apple", "fire truck", "umbrella", "guitar")
CAPTIONS, STEPS = int(os.environ.get("E2E_CAPTIONS", "192")), 50
SIZE = 256  # pixels: large enough that a unit takes some seconds to draw, and a blow falls into it
LONG_RUNNING = ("redis", "store", "llm-server", "caption-api", "proxy", "caption-worker", "render-worker", "trainer")
FILES = "docker-compose.yml docker-compose.replicas.yml"
RENDER_WORKERS = 2

PROXY_IMAGE = "haproxy:3.2.25"
DEBIAN_PROXY = """FROM python:3.11-slim-bookworm
RUN apt-get update -q && apt-get install -y -q --no-install-recommends haproxy
USER haproxy
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
"""

# What an image must be: one service's package beside the shared one, a user that is nobody.
LOOK_INSIDE = """
import importlib.util as u, os, pkgutil
names = sorted(m.name for m in pkgutil.iter_modules() if m.name.startswith("synfarm"))
print(" ".join(names), "uid", os.getuid(), "torch" if u.find_spec("torch") else "no torch")
"""
# PID 1 is tini, which cannot be killed from inside; its child is the worker. It is killed while it draws: in a fifth of
# a second of drawing it takes at least a quarter of that from a core, even of a busy machine; waiting, next to nothing.
KILL_WORKER_WHILE_IT_DRAWS = """
import os, pathlib, signal, sys, time
def fields(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
def seconds(pid):
    return sum(map(int, fields(pid)[11:13])) / os.sysconf("SC_CLK_TCK")
worker, = (p for p in map(int, filter(str.isdigit, os.listdir("/proc")))
           if p != os.getpid() and p != os.getppid() and fields(p)[1] == "1")
end = time.monotonic() + 5
while time.monotonic() < end:
    before = seconds(worker)
    time.sleep(0.2)
    if seconds(worker) - before >= 0.05:
        os.kill(worker, signal.SIGKILL)
        sys.exit()
"""
# At once, whatever it does: PID 1's only child.
KILL_AT_ONCE = """
import os, pathlib, signal
for pid in filter(str.isdigit, os.listdir("/proc")):
    if pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == "1":
        os.kill(int(pid), signal.SIGKILL)
"""


class Failed(RuntimeError):
    """A step did not do what it promises; the message says which."""


def say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(*command: str, env: dict[str, str] | None = None, timeout: float = 120) -> str:
    """Standard output of a command.

    Raises:
        Failed: it ended with another code than 0, or took too long.
    """
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command)}: no end after {timeout:g} s") from error
    if done.returncode:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-6000:]}")
    return done.stdout


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


@dataclass
class Stack:
    """One compose project of its own."""

    project: str
    ports: list[int]
    times: list[tuple[str, float, str]] = field(default_factory=list)
    proxy_image: str = PROXY_IMAGE

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNFARM_PORT")}
        names = ("API", "TRAINER", "STORE", "STORE_CONSOLE")
        return {
            **kept,
            **{f"SYNFARM_PORT_{name}": str(port) for name, port in zip(names, self.ports, strict=True)},
            "SYNFARM_TAG": self.project,
            "SYNFARM_PROXY_IMAGE": self.proxy_image,
            "COMPOSE_PROGRESS": "plain",
            "COMPOSE_ANSI": "never",
        }

    def compose(self, *arguments: str, timeout: float = 120) -> str:
        files = os.environ.get("E2E_COMPOSE_FILES", FILES).split()
        options = [word for file in files for word in ("--file", file)]
        return run(
            "docker", "compose", "--project-name", self.project, *options, *arguments, env=self.env, timeout=timeout
        )

    def curl(self, port: int, path: str, body: object = None) -> Any:
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "30"]
        command.append(f"http://127.0.0.1:{port}{path}")
        if body is not None:
            command += ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
        return json.loads(run(*command))

    def api(self, path: str, body: object = None) -> Any:
        return self.curl(self.ports[0], path, body)

    def trainer(self, path: str, body: object = None) -> Any:
        return self.curl(self.ports[1], path, body)

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
        healthy = {name for name, _, _ in states} >= set(LONG_RUNNING)
        healthy = healthy and all(health == "healthy" for name, _, health in states if name in LONG_RUNNING)
        return True if healthy else None

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[list[str]]:
        """Time a step; what is put into the list stands beside it in the table."""
        say(f"== {name}")
        began, notes = time.monotonic(), []
        yield notes
        self.times.append((name, time.monotonic() - began, "; ".join(notes)))
        say(f"   {self.times[-1][1]:.1f} s  {self.times[-1][2]}")


def look_inside(stack: Stack) -> list[str]:
    """Each image's size, and what is in it.

    Raises:
        Failed: another service's package is in it, or it runs as root.
    """
    rows = []
    for image in IMAGES:
        name = f"synfarm/{image}:{stack.project}"
        inside = run("docker", "run", "--rm", "--read-only", "--network", "none", name, "python", "-c", LOOK_INSIDE)
        package = f"synfarm_{image.replace('-', '_')}"
        torch = "torch" if image in {"llm-server", "trainer"} else "no torch"
        if inside.strip() != f"synfarm {package} uid 10001 {torch}":
            raise Failed(f"{name} holds: {inside.strip()}")
        size = run("docker", "images", "--format", "{{.Size}}", name).strip()
        rows.append(f"| {image} | {size} | {inside.strip()} |")
    return rows


def find_proxy(stack: Stack) -> str:
    """HAProxy's own image, or Debian's package in an image of this project; what it is, in words."""
    with contextlib.suppress(Failed):
        run("docker", "pull", "--quiet", PROXY_IMAGE, timeout=300)
        return PROXY_IMAGE
    stack.proxy_image = f"synfarm/proxy:{stack.project}"
    build = ["docker", "build", "--quiet", "--tag", stack.proxy_image, "-"]
    done = subprocess.run(build, input=DEBIAN_PROXY, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise Failed(f"the stand-in for {PROXY_IMAGE} cannot be built: {done.stderr[-3000:]}")
    return f"Debian's haproxy in the place of {PROXY_IMAGE}"


def kill(containers: list[str], code: str) -> str:
    """End the process of one of some containers by SIGKILL from inside; which, once Docker has started it again."""

    def one() -> str | None:
        for container in containers:
            with contextlib.suppress(Failed):  # the shell of the exec dies with its container
                run("docker", "exec", container, "python", "-c", code)
            time.sleep(1)  # to Docker's count
            if run("docker", "inspect", "--format", "{{.RestartCount}}", container).strip() != "0":
                return f"number {container.rpartition('-')[2]}"
        return None

    return until(f"one of {', '.join(containers)} is back", one, 300)


def job_with_blows(stack: Stack) -> str:
    """Submit a job and strike while it runs: a render worker, Redis, each caption-api. Its id once it is completed."""
    with stack.phase("submit a job") as notes:
        body = {"concepts": CONCEPTS, "captions": CAPTIONS, "render": {"size": SIZE}}
        job: str = stack.api("/v1/jobs", body)["job"]
        notes.append(f"{CAPTIONS} captions of {len(CONCEPTS)} concepts, 4 images each")
    following = Following(f"http://127.0.0.1:{stack.ports[0]}/v1/jobs/{job}/events")
    try:
        with stack.phase("first images"):
            until("images", lambda: stack.api(f"/v1/jobs/{job}")["counts"]["images"] or None, 900)
        with stack.phase(f"kill -9 in one of {RENDER_WORKERS} render workers; its restart") as notes:
            killed = kill(stack.containers("render-worker"), KILL_WORKER_WHILE_IT_DRAWS)
            notes.append(f"{killed}, {progress(stack, job)}")
        with stack.phase("restart Redis in mid-job") as notes:
            notes.append(progress(stack, job))
            stack.compose("restart", "redis")
        for number, container in enumerate(stack.containers("caption-api"), 1):
            with stack.phase(f"kill -9 in caption-api {number}; healthy again") as notes:
                notes.append(progress(stack, job))
                kill([container], KILL_AT_ONCE)
                # Asked through the proxy while one of the two is away.
                answered = [stack.api(f"/v1/jobs/{job}")["job"] == job for _ in range(20)]
                notes.append(f"{sum(answered)} of {len(answered)} questions answered meanwhile")
                until("all healthy", stack.all_healthy, 300)
        with stack.phase("job completed") as notes:

            def ended() -> dict[str, Any] | None:
                view: dict[str, Any] = stack.api(f"/v1/jobs/{job}")
                return None if view["state"] in {"queued", "running"} else view

            view = until("the job ends", ended, 1800)
            notes.append(f"{view['counts']['images']} images, {view['repairs']} units sent again")
            if view["state"] != "completed":
                raise Failed(f"the job is {view['state']}: {json.dumps(view)}")
            if not view["repairs"]:
                raise Failed("no unit was sent again: the blow fell into no unit")
        with stack.phase("its event stream, followed all the while") as notes:
            until("the stream tells the end", lambda: following.ended or None, 60)
            notes.append(
                f"{len(following.ids)} events, {following.breaks} breaks, {following.resets} times the whole state"
            )
            if not following.breaks:
                raise Failed("the stream never broke: no blow fell on the replica that it came from")
            if again := following.repeated():
                raise Failed(f"events were told twice: {again[:5]}")
    finally:
        following.stop()
    return job


def progress(stack: Stack, job: str) -> str:
    """How far a job is, which must be at work still."""
    view = until("the API answers", lambda: stack.api(f"/v1/jobs/{job}"), 60)
    if view["state"] != "running":
        raise Failed(f"the job was {view['state']} before the blow: give it more captions")
    return f"at {view['counts']['images']} of {CAPTIONS * 4} images"


def train(stack: Stack, job: str) -> None:
    """A run of a few steps on the job."""
    with stack.phase(f"run of {STEPS} steps") as notes:
        overrides = {"schedule.steps": STEPS, "schedule.warmup_steps": 10}
        body = {"jobs": [job], "preset": "tiny", "overrides": overrides}
        name: str = stack.trainer("/v1/runs", body)["run"]

        def ended() -> dict[str, Any] | None:
            view: dict[str, Any] = stack.trainer(f"/v1/runs/{name}")
            return view if view["state"] in {"completed", "failed", "stopped"} else None

        view = until("the run ends", ended, 1800)
        if (view["state"], view["step"]) != ("completed", STEPS):
            raise Failed(f"the run is {view['state']} at step {view['step']}: {view['reason']}")
        notes.append(f"losses {', '.join(f'{term} {value:.3f}' for term, value in view['losses'].items())}")


def go(stack: Stack) -> None:
    with stack.phase("build") as notes:
        stack.compose("build", timeout=3600)
        sizes = look_inside(stack)
        notes.append(f"4 images, each with its own package alone, as uid 10001; {find_proxy(stack)}")
    with stack.phase("up, until all are healthy") as notes:
        scale = f"render-worker={RENDER_WORKERS}"
        stack.compose("up", "--detach", "--no-build", "--scale", scale, timeout=1800)
        until("all healthy", stack.all_healthy, 900)
        notes.append(", ".join(f"{name} {health}" for name, _, health in stack.states()))
    train(stack, job_with_blows(stack))
    with stack.phase("all healthy again") as notes:
        until("all healthy", stack.all_healthy, 600)
        notes.append(f"{sum(health == 'healthy' for _, _, health in stack.states())} containers")
    with stack.phase("stop, by SIGTERM") as notes:
        stack.compose("stop", timeout=180)
        late = {name for name, _, state in stack.states() if state.endswith(" 137")}
        notes.append(f"killed after their grace period: {', '.join(sorted(late)) or 'none'}")
        if late - {"redis", "store"}:
            raise Failed(f"did not leave in time: {late}")
    say("\n| image | size | holds |\n| --- | --- | --- |\n" + "\n".join(sizes))


def main() -> int:
    if (why := engine_missing()) is not None:
        say(f"e2e-compose: SKIPPED, {why}")
        return 0
    stack = Stack(f"synfarm-e2e-{os.getpid()}-{random.SystemRandom().randrange(1000):03d}", free_ports(4))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    say(f"e2e-compose: project {stack.project}, API on 127.0.0.1:{stack.ports[0]}, trainer on {stack.ports[1]}")
    failure: Failed | None = None
    try:
        go(stack)
    except Failed as error:
        failure = error
        say(f"\nFAILED: {error}\n")
        with contextlib.suppress(Failed):
            say(stack.compose("ps", "--all") + stack.compose("logs", "--no-color", "--tail", "40"))
    finally:
        with stack.phase("down, with volumes"):
            stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "30", timeout=300)
            for image in (*IMAGES, "proxy"):
                with contextlib.suppress(Failed):
                    run("docker", "image", "rm", f"synfarm/{image}:{stack.project}")
    say("\n| step | seconds | |\n| --- | --- | --- |")
    for name, seconds, notes in stack.times:
        say(f"| {name} | {seconds:.1f} | {notes} |")
    say(f"\ne2e-compose: {'FAILED' if failure else 'passed'} in {sum(s for _, s, _ in stack.times):.0f} s")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
