"""A job of `make e2e-compose` and the blows in its middle: on a render worker, Redis, each caption-api."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from e2e_events import Following
from e2e_stack import Failed, Stack, run, until

CONCEPTS = ("dog", "cat", "apple", "fire truck", "umbrella", "guitar")
CAPTIONS = int(os.environ.get("E2E_CAPTIONS", "192"))
SIZE = 256  # pixels: large enough that a unit takes some seconds to draw, and a blow falls into it

# PID 1 is tini, which cannot be killed from inside; its child is the worker. It is killed while it draws, which takes
# half a tenth of a second of a core within a second, even of a machine with twenty others at work; waiting takes 0.002.
KILL_WORKER_WHILE_IT_DRAWS = """
import os, pathlib, signal, sys, time
def fields(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
def seconds(pid):
    return sum(map(int, fields(pid)[11:13])) / os.sysconf("SC_CLK_TCK")
worker, = (p for p in map(int, filter(str.isdigit, os.listdir("/proc")))
           if p != os.getpid() and p != os.getppid() and fields(p)[1] == "1")
taken = [seconds(worker)]
end = time.monotonic() + 5
while time.monotonic() < end:
    time.sleep(0.2)
    taken.append(seconds(worker))
    if taken[-1] - taken[-6:][0] >= 0.05:
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

    return until(f"one of {', '.join(containers)} is back", one, 600)


def job_with_blows(stack: Stack) -> str:
    """Submit a job and strike while it runs: a render worker, Redis, each caption-api. Its id once it is completed."""
    with stack.phase("submit a job") as notes:
        body = {"concepts": CONCEPTS, "captions": CAPTIONS, "render": {"size": SIZE}}
        job: str = stack.api("/v1/jobs", body)["job"]
        notes.append(f"{CAPTIONS} captions of {len(CONCEPTS)} concepts, 4 images each")
    following = Following(f"http://127.0.0.1:{stack.port('API')}/v1/jobs/{job}/events")
    try:
        with stack.phase("first images"):
            until("images", lambda: stack.api(f"/v1/jobs/{job}")["counts"]["images"] or None, 900)
        workers = stack.containers("render-worker")
        with stack.phase(f"kill -9 in one of {len(workers)} render workers; its restart") as notes:
            killed = kill(workers, KILL_WORKER_WHILE_IT_DRAWS)
            stack.blows.append((time.time(), "a render worker killed"))
            notes.append(f"{killed}, {progress(stack, job)}")
        with stack.phase("restart Redis in mid-job") as notes:
            notes.append(progress(stack, job))
            stack.blows.append((time.time(), "Redis restarted"))
            stack.compose("restart", "redis")
        for number, container in enumerate(stack.containers("caption-api"), 1):
            with stack.phase(f"kill -9 in caption-api {number}; healthy again") as notes:
                notes.append(progress(stack, job))
                stack.blows.append((time.time(), f"caption-api {number} killed"))
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
