"""A real farm for killing: Redis, S3, caption-api and both workers as processes; only the LLM is a stub."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from tests.chaos.invariants import assert_whole
from tests.fault_proxy import FaultProxy

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobRequest, JobSpec, JobState
from synfarm.contracts.manifests import Ended
from synfarm.contracts.views import JobView
from synfarm.local.folder import StackFolder
from synfarm.local.ports import HeldPorts
from synfarm.local.probes import HttpProbe
from synfarm.local.process import ProcessSpec
from synfarm.local.stack import Ports, process_specs
from synfarm.local.supervisor import Supervisor
from synfarm.queue.board import Board, JobCounters
from synfarm.queue.clock import RedisClock
from synfarm.queue.keys import Keys
from synfarm.sdk.aio import AsyncClient
from synfarm.sdk.config import ClientConfig
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore

STUB = Path(__file__).with_name("stub_llm.py")
NEEDED = ("redis", "s3", "llm-server", "caption-api", "caption-worker", "render-worker")

QUICK = {
    "SYNFARM_LEASE_TTL_SECONDS": "3",
    "SYNFARM_FEEDER_CLAIM_GAP_SECONDS": "4",
    "SYNFARM_FEEDER_SETTLE_SECONDS": "2",
    "SYNFARM_FEEDER_EPOCH_GRACE_SECONDS": "2",
    "SYNFARM_FEEDER_LOCK_SECONDS": "2",
    "SYNFARM_FEEDER_PASS_SECONDS": "0.2",
}
"""Small time-outs for the tests that do not measure the repair with the shipped ones."""


@dataclasses.dataclass
class Farm:
    """A running farm and what a test asks of it."""

    supervisor: Supervisor
    store: ObjectStore
    redis: Redis
    client: AsyncClient
    folder: Path
    twin: AsyncClient | None = None
    """Of the second replica of the API, if there is one."""
    urls: dict[str, str] = dataclasses.field(default_factory=dict)
    """Of the replicas of the API, by process."""
    proxy: FaultProxy | None = None
    """Between the farm and its store, if there is one; ``store`` goes past it."""
    store_settings: StoreSettings = dataclasses.field(default_factory=StoreSettings)
    """Those of ``store``."""
    processes: tuple[str, ...] = NEEDED

    @property
    def keys(self) -> Keys:
        return Keys("synfarm")

    def logged(self, process: str, event: str) -> int:
        """How often a process has logged an event."""
        return (self.folder / "logs" / f"{process}.log").read_text().count(f"] {event} ")

    @contextmanager
    def frozen(self, process: str) -> Iterator[None]:
        """Stop a process (SIGSTOP) for the time of the block: what it would do then, it does afterwards, or never."""
        pid = self.supervisor.pid(process)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):  # killed in the block
                os.kill(pid, signal.SIGCONT)

    async def hold_down(self, process: str, seconds: float) -> None:
        """Kill -9 a process as often as the supervisor starts it, so that nobody's retries outlast the outage."""
        async with asyncio.timeout(seconds + 10):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                pid = self.supervisor.pid(process)
                if pid is not None:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.02)

    def counters(self, job: str) -> JobCounters:
        return Board(self.redis, self.keys, RedisClock(self.redis)).counters(job)

    async def submit(self, captions: int = 40, *, per_unit: int = 4, size: int = 64, **more: object) -> JobView:
        request = {
            "concepts": ["dog", "cat", "apple", "car"],
            "captions": captions,
            "captions_per_unit": per_unit,
            "render": {"size": size},
            **more,
        }
        return await self.client.jobs.submit(JobRequest.model_validate(request))

    def store_is_unfinished(self, job: str) -> bool:
        """Whether the job still has units without a commit: a fault now falls inside work."""
        spec = JobSpec.from_bytes(self.store.get(layout.job(job)))
        return sum(1 for _ in self.store.list(layout.commits_prefix(job))) < spec.units

    async def until(self, what: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
        """Wait for a condition.

        Raises:
            TimeoutError: it did not come true.
        """
        async with asyncio.timeout(seconds):
            while not await what():  # noqa: ASYNC110 - what changes is in other processes
                await asyncio.sleep(0.05)

    async def until_committed(self, job: str, units: int) -> None:
        async def enough() -> bool:
            return sum(1 for _ in self.store.list(layout.commits_prefix(job))) >= units

        await self.until(enough)

    async def finish(self, job: str, seconds: float = 120) -> Ended:
        """Wait for the end, then hold everything the job left against its plan."""
        async with asyncio.timeout(seconds):
            view = await self.client.jobs.wait(job, poll=0.2)
        assert view.state is JobState.COMPLETED, view
        ended = assert_whole(self.store, job)
        assert view.counts == ended.counts
        return ended


def _changed(spec: ProcessSpec, faults: Mapping[str, str], stub: tuple[str, ...]) -> ProcessSpec:
    if spec.name == "llm-server":
        return dataclasses.replace(spec, command=stub)
    if spec.name in faults:
        return dataclasses.replace(spec, env={**spec.env, "SYNFARM_FAULTS": faults[spec.name]})
    return spec


def _twin(spec: ProcessSpec, port: int) -> ProcessSpec:
    """A second replica of a process, at ``port`` if it listens."""
    name = f"{spec.name}-2"
    if spec.address is None:
        return dataclasses.replace(spec, name=name)
    setting = {"caption-api": "SYNFARM_CAPTION_PORT", "render-worker": "SYNFARM_RENDER_PORT"}[spec.name]
    return dataclasses.replace(
        spec,
        name=name,
        env={**spec.env, setting: str(port)},
        address=f"127.0.0.1:{port}",
        probe=HttpProbe(f"http://127.0.0.1:{port}/healthz"),
    )


@asynccontextmanager
async def _farm(
    root: Path,
    *,
    faults: Mapping[str, str] | None = None,
    extra: Mapping[str, str] | None = None,
    llm: float = 0.02,
    twins: Collection[str] = (),
    proxied: bool = False,
) -> AsyncIterator[Farm]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(StackFolder(root))
        secrets, ports, more = folder.secrets(), Ports.free(), HeldPorts(len(twins))
        settings = StoreSettings(
            endpoint=f"127.0.0.1:{ports.s3.s3}",
            access_key=SecretStr(secrets.s3_access_key),
            secret_key=SecretStr(secrets.s3_secret_key),
        )
        environment, proxy = dict(extra or {}), None
        if proxied:
            proxy = FaultProxy(("127.0.0.1", ports.s3.s3), notes=False)
            stack.callback(proxy.close)
            environment["SYNFARM_STORE_ENDPOINT"] = proxy.endpoint
        stub = (sys.executable, str(STUB), "--port", str(ports.llm), "--seconds", str(llm))
        specs = {
            spec.name: _changed(spec, faults or {}, stub)
            for spec in process_specs(folder, secrets, ports, environment)
            if spec.name in NEEDED
        }
        twin_ports = dict(zip(twins, more.numbers, strict=True))
        twin_specs = [_twin(specs[name], port) for name, port in twin_ports.items()]
        redis = Redis(port=ports.redis, password=secrets.redis_password, decode_responses=True)
        stack.callback(redis.close)
        config = ClientConfig(api_url=f"http://127.0.0.1:{ports.api}", key=secrets.api_key, tries=8)
        supervisor = Supervisor([*specs.values(), *twin_specs], folder.logs, restarts=50)
        await stack.enter_async_context(supervisor)
        client = await stack.enter_async_context(AsyncClient(config))
        farm = Farm(supervisor, open_store(settings), redis, client, folder.root, proxy=proxy, store_settings=settings)
        farm.processes = (*specs, *(spec.name for spec in twin_specs))
        farm.urls = {"caption-api": config.api_url}
        if "caption-api" in twins:
            address = farm.urls["caption-api-2"] = f"http://127.0.0.1:{twin_ports['caption-api']}"
            farm.twin = await stack.enter_async_context(AsyncClient(dataclasses.replace(config, api_url=address)))
        yield farm


MakeFarm = Callable[..., AbstractAsyncContextManager[Farm]]


@pytest.fixture
def farm(tmp_path: Path) -> MakeFarm:
    """``async with farm(faults={process: spec}, extra=environment) as f``."""

    def make(**options: object) -> AbstractAsyncContextManager[Farm]:
        return _farm(tmp_path / f"farm-{time.monotonic_ns()}", **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def quick() -> dict[str, str]:
    return dict(QUICK)
