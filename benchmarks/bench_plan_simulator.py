"""What the simulator of `synfarm plan` foretells of a job, beside what a real farm takes for it.

Run: ``python benchmarks/bench_plan_simulator.py``. A farm of child processes on this machine: Redis, S3, caption API,
one caption worker before an LLM server of fixed latency, render workers whose images take a fixed time and next to no
processor, so that other work on the machine matters little. A first, small job gives the rates: what a unit takes on a
worker, how long captions come before the first image, how long a worker that was killed stays away. With these the
simulator foretells a second, larger job, in which workers are killed (SIGKILL) at a given rate; then that job is run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from redis import Redis

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Commit
from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.randomness import bits, key_of, uniform
from synfarm.contracts.views import JobView
from synfarm.local.folder import StackFolder
from synfarm.local.ports import HeldPorts
from synfarm.local.probes import HttpProbe
from synfarm.local.process import ProcessSpec
from synfarm.local.stack import Ports, process_specs
from synfarm.local.supervisor import Supervisor
from synfarm.planning.simulation.farm import Loss, SimulatedFarm
from synfarm.planning.simulation.many import Simulated, simulate_many
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.keys import Keys
from synfarm.queue.presence import live_workers
from synfarm.sdk.aio import AsyncClient
from synfarm.sdk.config import ClientConfig
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import configure_logging

_HERE = Path(__file__).parent
_CAPTIONS = 8
"""A unit, one image each."""
_SLOTS = 8
_KEYS = Keys("synfarm")
_KEPT = ("redis", "s3", "llm-server", "caption-api", "caption-worker")


@dataclass
class Farm:
    supervisor: Supervisor
    store: ObjectStore
    board: Board
    redis: Redis
    client: AsyncClient
    workers: tuple[str, ...]
    probes: dict[str, HttpProbe]

    async def submit(self, units: int) -> JobView:
        body = {
            "concepts": ["dog", "cat", "apple", "car", "tree", "boat"],
            "captions": units * _CAPTIONS,
            "captions_per_unit": _CAPTIONS,
            "images_per_caption": 1,
            "render": {"size": 64},
        }
        return await self.client.jobs.submit(JobRequest.model_validate(body))

    async def ready(self, worker: str, but: int | None = None) -> int:
        """Process id of a worker that answers and is not ``but``."""
        while True:
            pid = self.supervisor.pid(worker)
            if pid is not None and pid != but and await self.probes[worker]() is None:
                return pid
            await asyncio.sleep(0.05)

    async def kill(self, worker: str) -> float:
        """Kill -9; seconds until its successor answers."""
        pid = await self.ready(worker)
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await self.ready(worker, but=pid)
        return time.monotonic() - began

    def commits(self, job: str) -> list[Commit]:
        return [Commit.from_bytes(self.store.get(info.key)) for info in self.store.list(layout.commits_prefix(job))]


@contextlib.asynccontextmanager
async def _farm(root: Path, chosen: argparse.Namespace) -> AsyncIterator[Farm]:
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(StackFolder(root))
        secrets, ports, more = folder.secrets(), Ports.free(), HeldPorts(chosen.workers)
        env = {"SYNFARM_LEASE_TTL_SECONDS": str(chosen.lease), "SLEEPING_WORKER_SECONDS": str(chosen.image)}
        made = {spec.name: spec for spec in process_specs(folder, secrets, ports, env)}
        llm = [str(_HERE / "fixed_latency_llm.py"), "--port", str(ports.llm), "--seconds", str(chosen.latency)]
        made["llm-server"] = dataclasses.replace(
            made["llm-server"], command=(sys.executable, *llm), probe=HttpProbe(f"http://127.0.0.1:{ports.llm}/info")
        )
        workers = [_worker(made["render-worker"], n, port) for n, port in enumerate(more.numbers)]
        specs = [*(made[name] for name in _KEPT), *workers]
        settings = StoreSettings(
            endpoint=f"127.0.0.1:{ports.s3.s3}",
            access_key=SecretStr(secrets.s3_access_key),
            secret_key=SecretStr(secrets.s3_secret_key),
        )
        redis = Redis(port=ports.redis, password=secrets.redis_password, decode_responses=True)
        stack.callback(redis.close)
        supervisor = Supervisor(specs, folder.logs, restarts=10_000)
        await stack.enter_async_context(supervisor)
        config = ClientConfig(api_url=f"http://127.0.0.1:{ports.api}", key=secrets.api_key, tries=8)
        client = await stack.enter_async_context(AsyncClient(config))
        board = Board(redis, _KEYS, RedisClock(redis))
        probes = {spec.name: spec.probe for spec in workers if isinstance(spec.probe, HttpProbe)}
        yield Farm(supervisor, open_store(settings), board, redis, client, tuple(probes), probes)


def _worker(spec: ProcessSpec, number: int, port: int) -> ProcessSpec:
    address = f"127.0.0.1:{port}"
    return dataclasses.replace(
        spec,
        name=f"render-worker-{number}",
        command=(sys.executable, str(_HERE / "sleeping_worker.py")),
        env={**spec.env, "SYNFARM_RENDER_PORT": str(port)},
        address=address,
        probe=HttpProbe(f"http://{address}/healthz"),
    )


@dataclass(frozen=True)
class Measured:
    """Of the first jobs. Seconds."""

    job: float
    unit: float
    spread: float
    finish: float
    captions: float
    end: float
    """From the last commit until the job is seen to have ended."""
    restart: float
    """From a kill until the successor begins a unit."""
    lag: float
    """The last part of it: from when the successor answers."""


async def _measure(farm: Farm, units: int, kills: int) -> Measured:
    began = time.monotonic()
    job = (await farm.submit(units)).job
    first = await _first_captions(farm, job) - began
    seconds, ended = await _ended(farm, job, began), utc_now()
    commits = farm.commits(job)
    # A worker's first unit waited for its captions; what a unit costs the worker, the others tell.
    costs = [c.timings["cost"] for c in commits if c.unit >= len(farm.workers)]
    rest = [c.timings["total"] - c.timings["render"] for c in commits]
    unit = statistics.fmean(costs)
    restart, lag = await _restarts(farm, 2 * units, kills)
    return Measured(
        job=seconds,
        unit=unit,
        # Of an even spread the standard deviation is the half width over the root of three.
        spread=min(0.9, statistics.stdev(costs) * math.sqrt(3) / unit),
        finish=statistics.median(rest),
        captions=first,
        end=(ended - max(c.committed_at for c in commits)).total_seconds(),
        restart=restart,
        lag=lag,
    )


async def _restarts(farm: Farm, units: int, kills: int) -> tuple[float, float]:
    """(kill to the next unit, answer to the next unit), means over so many kills in a job of their own.

    Of those kills whose successors came before its end.
    """
    began = time.monotonic()
    job = (await farm.submit(units)).job
    await _first_captions(farm, job)
    fallen: dict[int, tuple[datetime, datetime]] = {}
    for number in range(kills):
        worker = farm.workers[number % len(farm.workers)]
        at = utc_now()
        await farm.kill(worker)
        fallen[await farm.ready(worker)] = at, utc_now()
    heirs = {info.id: fallen[info.pid] for info in live_workers(farm.redis, _KEYS) if info.pid in fallen}
    await _ended(farm, job, began)
    first: dict[str, datetime] = {}
    for commit in farm.commits(job):
        start = commit.committed_at - timedelta(seconds=commit.timings["total"])
        first[commit.worker] = min(start, first.get(commit.worker, start))
    times = [(first[name], *heirs[name]) for name in heirs if name in first]
    if len(times) < 2:
        raise RuntimeError(f"{kills} workers were killed, {len(times)} came back in time: take a larger first job")
    away = statistics.fmean((begun - at).total_seconds() for begun, at, _ in times)
    return away, statistics.fmean((begun - there).total_seconds() for begun, _, there in times)


async def _first_captions(farm: Farm, job: str) -> float:
    while farm.board.counters(job).written == 0:  # noqa: ASYNC110 - what changes is in another process
        await asyncio.sleep(0.02)
    return time.monotonic()


async def _ended(farm: Farm, job: str, began: float) -> float:
    view = await farm.client.jobs.wait(job, poll=0.1)
    if view.counts.units_dead or view.state.value != "completed":
        raise RuntimeError(f"the job ended otherwise than foreseen: {view}")
    return time.monotonic() - began


def _foretold(
    chosen: argparse.Namespace, measured: Measured, units: int, *, rate: float = 0.0, kills: Sequence[Loss] = ()
) -> Simulated:
    slots = chosen.workers + _SLOTS
    farm = SimulatedFarm(
        units=units,
        render_workers=chosen.workers,
        caption_slots=_SLOTS,
        caption_seconds=measured.captions,
        render_seconds=measured.unit,
        render_spread=measured.spread,
        finish_seconds=measured.finish,
        window=4 * slots,
        lease_seconds=chosen.lease,
        preemptions_per_hour=rate,
        losses=tuple(kills),
        restart_seconds=measured.restart,
    )
    return simulate_many(farm, chosen.seeds)


async def _killing(farm: Farm, worker: int, rate: float, seed: int, began: float, fallen: list[Loss]) -> None:
    """Kill one worker again and again; after it was there for an exponential time: 1/``rate`` hours."""
    key, life = key_of(seed, "bench.kills"), 0
    while True:
        life += 1
        await asyncio.sleep(-math.log(1 - uniform(bits(key, worker, life))) * 3600 / rate)
        at = time.monotonic() - began
        fallen.append(Loss(worker=worker, at=at))
        away = await farm.kill(farm.workers[worker])
        fallen[fallen.index(Loss(worker=worker, at=at))] = Loss(worker=worker, at=at, seconds=away)


async def _watching(farm: Farm, job: str, noticed: list[int]) -> None:
    """Keep the count of workers that the feeder saw lost in work: it goes with the job."""
    while True:
        noticed.append(farm.board.counters(job).lost_workers)
        await asyncio.sleep(0.2)


async def _killed_job(farm: Farm, units: int, rate: float, seed: int) -> tuple[float, list[Loss], int]:
    """(seconds, kills, workers that the farm noticed to be lost in work)."""
    fallen: list[Loss] = []
    noticed = [0]
    began = time.monotonic()
    killers = [_killing(farm, n, rate, seed, began, fallen) for n in range(len(farm.workers))]
    others = [asyncio.create_task(killer) for killer in killers]
    try:
        job = (await farm.submit(units)).job
        others.append(asyncio.create_task(_watching(farm, job, noticed)))
        seconds = await _ended(farm, job, began)
    finally:
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    return seconds, fallen, max(noticed)


def _told(name: str, played: Simulated, known: Simulated, end: float, truth: float) -> str:
    hours = played.hours
    # What the simulator sees last is a pass of the feeder; the client hears of it a little later.
    low, median, high = (3600 * value + end for value in (hours.low, hours.median, hours.high))
    own = 3600 * known.hours.median + end
    within = "" if low <= truth <= high else " (outside)"
    return (
        f"| {name} | {median:.1f} | {low:.1f} to {high:.1f}{within} | {own:.1f} | {truth:.1f} | "
        f"{truth / median:.3f} | {truth / own:.3f} |"
    )


async def _run(chosen: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with _farm(Path(folder) / "farm", chosen) as farm:
            await asyncio.gather(*(farm.ready(worker) for worker in farm.workers))
            measured = await _measure(farm, chosen.small, chosen.restarts)
            _say(f"measured on {chosen.small} units: {measured}\n")
            _say(
                "| job | foretold s | 90 % | with its own kills, s | took s | took / foretold | took / with its kills |"
            )
            _say("| --- | --- | --- | --- | --- | --- | --- |")
            calm = _foretold(chosen, measured, chosen.small)
            _say(_told(f"{chosen.small} units, the first job itself", calm, calm, measured.end, measured.job))
            for number in range(chosen.rounds):
                seconds, kills, noticed = await _killed_job(farm, chosen.large, chosen.kills, chosen.seed + number)
                played = _foretold(chosen, measured, chosen.large, rate=chosen.kills)
                recorded = [_until_work(kill, measured.lag) for kill in kills]
                known = _foretold(chosen, measured, chosen.large, kills=recorded)
                lost = played.lost_workers
                told = f"{len(kills)} kills ({lost.low:.0f} to {lost.high:.0f} foretold), {noticed} seen in work"
                _say(_told(f"{chosen.large} units, {told}", played, known, measured.end, seconds))


def _until_work(kill: Loss, lag: float) -> Loss:
    return kill if kill.seconds is None else kill.model_copy(update={"seconds": max(0.0, kill.seconds + lag)})


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--small", type=int, default=60, help="units of the first job")
    parser.add_argument("--large", type=int, default=360, help="units of the second")
    parser.add_argument("--rounds", type=int, default=3, help="how often the second job is run, with other kills")
    parser.add_argument("--kills", type=float, default=60.0, help="of a worker, an hour")
    parser.add_argument("--restarts", type=int, default=3, help="kills that measure how long a worker stays away")
    parser.add_argument("--image", type=float, default=0.25, help="seconds of an image")
    parser.add_argument("--latency", type=float, default=0.5, help="seconds of the LLM server")
    parser.add_argument("--lease", type=float, default=6.0, help="seconds; shipped: 30")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def main() -> None:
    configure_logging("error", "console", process="bench")
    asyncio.run(_run(_options()))


if __name__ == "__main__":
    main()
