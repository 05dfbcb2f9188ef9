"""Captions a second on one core: draw, generate, gate and write, beside a bare loop over the same HTTP client.

Run: ``python benchmarks/bench_captions.py``. The client stays on one core, the LLM server of fixed latency, Redis and
S3 on another. Twice: at a latency that a bare loop can keep full (the aim: 95 % of it), and at none (the aim: 500
captions a second and core).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from synfarm.concepts import load
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.faults import Faults
from synfarm.local.servers import LocalRedis, LocalS3
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.keys import Keys
from synfarm.settings import RedisSettings
from synfarm.storage.minio_store import open_store
from synfarm.telemetry import configure_logging
from synfarm_caption_api.caption_work import CaptionWork
from synfarm_caption_api.generators import make_generator
from synfarm_caption_api.llm.http import JsonHttp, open_session
from synfarm_caption_api.llm.tgi import TgiApi
from synfarm_caption_api.llm.wire import Ask
from synfarm_caption_api.loop_thread import LoopThread
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.settings import LlmSettings

_SERVER = Path(__file__).with_name("fixed_latency_llm.py")
_JOB = "01k" + "0" * 23


@dataclass
class Speed:
    """What one way reached."""

    a_second: float
    cpu_ms: float
    """Of the client process, for each of them."""
    cpu_share: float


class _Counted:
    """A claim that nobody contests; counts the answers."""

    def __init__(self) -> None:
        self.answers = 0

    def progress(self) -> None:
        self.answers += 1

    def check(self) -> None:
        return None


def _spec(captions_per_unit: int) -> JobSpec:
    request = JobRequest.model_validate({"concepts": [c.name for c in load("collage")], "captions": 150_000_000})
    plain = request.model_dump(exclude={"captions_per_unit"}, exclude_none=True)
    return JobSpec.model_validate(
        {**plain, "job": _JOB, "owner": "bench", "created_at": utc_now(), "captions_per_unit": captions_per_unit}
    )


@contextmanager
def _llm(seconds: float, core: int | None) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(_SERVER), "--port", str(port), "--seconds", str(seconds)]
    child = subprocess.Popen(command + ([] if core is None else ["--core", str(core)]))
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.kill()
        child.wait()


async def _bare(url: str, spec: JobSpec, in_flight: int, warm: float, seconds: float) -> Speed:
    drawer = Drawer(spec, load_pools())
    chosen = spec.caption
    asks = [
        Ask(d.prompt, d.llm_seed, chosen.temperature, chosen.top_p, chosen.max_new_tokens, ("\n",))
        for d in map(drawer.draw, range(4096))
    ]
    turn, count = itertools.cycle(asks), 0
    async with open_session(token=None, timeout=60) as session:
        api = await TgiApi.discover(JsonHttp(session, url))

        async def loop() -> None:
            nonlocal count
            while True:
                await api.complete(next(turn))
                count += 1

        loops = [asyncio.create_task(loop()) for _ in range(in_flight)]
        await asyncio.sleep(warm)
        begin, cpu, before = time.perf_counter(), time.process_time(), count
        await asyncio.sleep(seconds)
        speed = _speed(count - before, begin, cpu)
        for each in loops:
            each.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    return speed


def _speed(count: int, begin: float, cpu: float) -> Speed:
    wall, used = time.perf_counter() - begin, time.process_time() - cpu
    return Speed(count / wall, 1e3 * used / max(1, count), used / wall)


def _ours(
    url: str, spec: JobSpec, in_flight: int, warm: float, seconds: float, redis_url: str, s3: LocalS3, threads: int
) -> tuple[Speed, float]:
    """Speed in answers, and draws for each caption that was written and sent on."""
    redis_settings = RedisSettings.model_validate({"url": redis_url})
    redis, keys = connect(redis_settings), Keys("bench")
    board = Board(redis, keys, RedisClock(redis))
    loop = LoopThread()
    # The bare loop has all its requests in flight from the start; so has this.
    llm = LlmSettings(url=url, max_in_flight=in_flight, start_in_flight=in_flight)
    generator = loop.run(make_generator(llm))
    work = CaptionWork(
        store=open_store(s3.settings(f"bench/{time.monotonic_ns()}")),
        board=board,
        dispatcher=Dispatcher(make_app(redis_settings), board),
        generator=generator,
        loop=loop,
        pools=load_pools(),
        faults=Faults(),
    )
    units, stop, claim = itertools.count(), threading.Event(), _Counted()
    done = [0] * threads

    def run(place: int) -> None:
        while not stop.is_set():
            unit = next(units)
            work(spec, UnitTask(job=spec.job, unit=unit, stage=Stage.CAPTION, queue="q", sequence=unit), claim)
            done[place] += spec.captions_per_unit

    runners = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(threads)]
    for runner in runners:
        runner.start()
    time.sleep(warm)
    begin, cpu, before = time.perf_counter(), time.process_time(), claim.answers
    time.sleep(seconds)
    speed = _speed(claim.answers - before, begin, cpu)
    stop.set()
    for runner in runners:
        runner.join()
    draws = claim.answers / sum(done)
    loop.run(generator.aclose())
    loop.close()
    redis.close()
    return speed, draws


def _shown(name: str, speed: Speed) -> str:
    return f"{name:<34}{speed.a_second:9.0f} /s {speed.cpu_ms:8.3f} ms CPU each {speed.cpu_share:7.0%} of the core\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--latency", type=float, default=0.8, help="seconds of the server in the first table")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured, after --warm seconds")
    parser.add_argument("--warm", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=2, help="the two ways in turn, so often; the best of each counts")
    parser.add_argument("--unit", type=int, default=64, help="captions of a unit")
    parser.add_argument("--threads", type=int, default=16, help="units in work at a time")
    chosen = parser.parse_args()
    configure_logging("warning", "console", process="bench")
    spec = _spec(chosen.unit)
    cores = sorted(os.sched_getaffinity(0))
    other = cores[-1] if len(cores) > 1 else None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if other is not None:
            os.sched_setaffinity(0, {other})  # what is started now stays there
        redis, s3 = LocalRedis.start(folder / "redis"), LocalS3.start(folder / "s3")
        stack.callback(redis.server.kill)
        stack.callback(s3.server.kill)
        os.sched_setaffinity(0, {cores[0]})
        for latency in (chosen.latency, 0.0):
            url = stack.enter_context(_llm(latency, other))
            bare, ours, draws = [], [], 1.0
            for _ in range(chosen.rounds):
                bare.append(asyncio.run(_bare(url, spec, chosen.in_flight, chosen.warm, chosen.seconds)))
                speed, draws = _ours(
                    url,
                    spec,
                    chosen.in_flight,
                    chosen.warm,
                    chosen.seconds,
                    redis.url(),
                    s3,
                    chosen.threads,
                )
                ours.append(speed)
            best, own = max(bare, key=lambda s: s.a_second), max(ours, key=lambda s: s.a_second)
            sys.stdout.write(
                f"server answers after {latency:.1f} s, {chosen.in_flight} in flight, one core\n"
                + _shown("bare loop, answers", best)
                + _shown("draw, generate, gate, write", own)
                + f"{'ratio':<34}{own.a_second / best.a_second:9.2f}{'   (aim: at least 0.95)' if latency else ''}\n"
                + f"{'captions (draws for each)':<34}{own.a_second / draws:9.0f} /s ({draws:.3f})"
                + f"{'' if latency else '   (aim: at least 500)'}\n\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
