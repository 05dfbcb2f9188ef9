"""`make e2e-compose`: the compose stack built and used as a user would, with blows in the middle; a table of times.

Build, up with two render workers and two caption-api behind one port, and with Prometheus; a job by curl; a render
worker is killed, Redis restarted, each caption-api killed in its turn, while the job's event stream is followed; the
job completed, a run of 50 steps; all scraped, all alerts evaluated, data for every query of the dashboards; no secret
told; all healthy, down. Project name, ports, image tags, secrets and volumes are its own; nothing stays but the build
cache and build/e2e-compose. E2E_COMPOSE_FILES names other compose files than these two, E2E_CAPTIONS makes the job
shorter or longer, E2E_PICTURE is where the picture of the dashboards goes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from e2e_blows import job_with_blows
from e2e_images import OURS, look_inside, no_secret_told, remove, stand_ins
from e2e_observing import Watch
from e2e_stack import PORTS, Failed, Stack, engine_missing, free_ports, say, until

RENDER_WORKERS = 2
STEPS = 50


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
        notes.append(f"{len(OURS)} images, each with its own package alone, as uid 10001; {stand_ins(stack)}")
    with stack.phase("up, until all are healthy") as notes:
        scale = f"render-worker={RENDER_WORKERS}"
        stack.compose("up", "--detach", "--no-build", "--scale", scale, timeout=1800)
        until("all healthy", stack.all_healthy, 900)
        notes.append(", ".join(f"{name} {health}" for name, _, health in stack.states()))
    watch = Watch(stack)
    watch.processes()
    job = job_with_blows(stack)
    watch.processes()
    watch.alerts()
    train(stack, job)
    watch.dashboards(job)
    with stack.phase("all healthy again") as notes:
        until("all healthy", stack.all_healthy, 600)
        notes.append(f"{sum(health == 'healthy' for _, _, health in stack.states())} containers")
    with stack.phase("no secret in images and logs") as notes:
        notes.append(no_secret_told(stack))
    with stack.phase("stop, by SIGTERM") as notes:
        stack.compose("stop", timeout=180)
        late = {name for name, _, state in stack.states() if state.endswith(" 137")}
        notes.append(f"killed after their grace period: {', '.join(sorted(late)) or 'none'}")
        if late - {"redis", "store"}:
            raise Failed(f"did not leave in time: {late}")
    say("\n| image | size | holds |\n| --- | --- | --- |\n" + "\n".join(sizes))


def judged(stack: Stack) -> list[str]:
    """Go through it all and clean up behind it; why it failed, nothing if it did not."""
    reasons: list[str] = []
    try:
        go(stack)
    except Failed as error:
        reasons.append(str(error))
        say(f"\nFAILED: {error}\n")
        with contextlib.suppress(Failed):
            say(stack.compose("ps", "--all") + stack.compose("logs", "--no-color", "--tail", "40"))
    finally:
        try:
            with stack.phase("down, with volumes"):
                stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "30", timeout=300)
        except Failed as error:
            reasons.append(f"something of project {stack.project} is left: {error}")
        remove(stack)
    return reasons


def main() -> int:
    if (why := engine_missing()) is not None:
        say(f"e2e-compose: SKIPPED, {why}")
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    project = f"synfarm-e2e-{os.getpid()}-{random.SystemRandom().randrange(1000):03d}"
    with tempfile.TemporaryDirectory(prefix="synfarm-e2e-") as folder:
        stack = Stack(project, free_ports(len(PORTS)), Path(folder))
        say(f"e2e-compose: project {project}, API on 127.0.0.1:{stack.port('API')}, trainer on {stack.port('TRAINER')}")
        reasons = judged(stack)
    say("\n| step | seconds | |\n| --- | --- | --- |")
    for name, seconds, notes in stack.times:
        say(f"| {name} | {seconds:.1f} | {notes} |")
    for reason in reasons:
        say(f"\n{reason}")
    say(f"\ne2e-compose: {'FAILED' if reasons else 'passed'} in {sum(s for _, s, _ in stack.times):.0f} s")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
