"""A whole farm in which each process has its own role in the store, and what each of them sends is noted."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fault_proxy import Exchange, FaultProxy
from tests.security.store_policies import ROLES, Credentials, with_identities

from synfarm.local.folder import StackFolder
from synfarm.local.process import ProcessSpec
from synfarm.local.stack import Ports, process_specs
from synfarm.local.supervisor import Supervisor
from synfarm.sdk.aio import AsyncClient
from synfarm.sdk.config import ClientConfig
from synfarm.settings import StoreSettings

__all__ = ["Receiver", "RoleFarm", "Sent", "role_farm"]

STUB = Path(__file__).resolve().parents[1] / "chaos" / "stub_llm.py"
ROLE_OF = {"caption-api": "api", "caption-worker": "caption", "render-worker": "renderer", "trainer": "trainer"}


@dataclass(frozen=True, order=True)
class Sent:
    """One request, as a policy sees it."""

    action: str
    key: str | None
    """None: of the bucket."""


def as_asked(method: str, target: str) -> Sent:
    """What a store must look up in a policy for a request (AWS: actions defined by Amazon S3)."""
    parts = urlsplit(target)
    _, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = parse_qs(parts.query, keep_blank_values=True)
    if not key:
        action = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "POST": "DeleteObject"}[method]
    elif method == "DELETE" and "uploadId" in query:
        action = "AbortMultipartUpload"
    else:
        action = {
            "GET": "GetObject",
            "HEAD": "GetObject",
            "PUT": "PutObject",
            "POST": "PutObject",
            "DELETE": "DeleteObject",
        }[method]
    return Sent(f"s3:{action}", key or None)


@dataclass
class Notes:
    """What one role has sent, and what it was refused."""

    sent: set[Sent] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, exchange: Exchange) -> None:
        answer = exchange.forward()
        method, target = exchange.handler.command, exchange.handler.path
        with self._lock:
            self.sent.add(as_asked(method, target))
            if answer[0] == 403:
                self.refused.append(f"{method} {target}: {answer[2][:300]!r}")
        exchange.answer(answer)


class Receiver:
    """Takes what webhooks tell."""

    def __init__(self) -> None:
        got = self.got = list[bytes]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/told"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class RoleFarm:
    client: AsyncClient
    notes: dict[str, Notes]
    settings: dict[str, StoreSettings] = field(repr=False)
    """How each role opens the store, past its proxy."""
    folder: Path
    supervisor: Supervisor
    proxies: dict[str, FaultProxy]
    """Of each role, between its process and the store."""
    redis_url: str = field(repr=False)
    config: ClientConfig

    def as_admin(self, *words: str) -> str:
        """Run ``python -m …`` with the admin's credentials; its output."""
        admin = self.settings["admin"]
        done = subprocess.run(
            [sys.executable, "-m", *words],
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": ":".join(sys.path),
                "SYNFARM_STORE_ENDPOINT": admin.endpoint,
                "SYNFARM_STORE_ACCESS_KEY": admin.access_key.get_secret_value(),
                "SYNFARM_STORE_SECRET_KEY": admin.secret_key.get_secret_value(),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout


def _of_role(
    spec: ProcessSpec, credentials: Mapping[str, Credentials], proxies: Mapping[str, FaultProxy]
) -> ProcessSpec:
    role = ROLE_OF.get(spec.name)
    if role is None:
        return spec
    own = {
        "SYNFARM_STORE_ENDPOINT": proxies[role].endpoint,
        "SYNFARM_STORE_ACCESS_KEY": credentials[role].access,
        "SYNFARM_STORE_SECRET_KEY": credentials[role].secret,
    }
    return dataclasses.replace(spec, env={**spec.env, **own})


@asynccontextmanager
async def role_farm(
    root: Path, *, extra: Mapping[str, str] | None = None, faults: Mapping[str, str] | None = None
) -> AsyncIterator[RoleFarm]:
    """The farm of one machine on a store that knows our roles and no other identity.

    Args:
        extra: environment of every service.
        faults: fault hooks by process.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(StackFolder(root))
        known, ports = folder.secrets(), Ports.free()
        credentials = {role: Credentials.fresh() for role in ROLES}
        notes = {role: Notes() for role in set(ROLE_OF.values())}
        proxies: dict[str, FaultProxy] = {}
        for role, kept in notes.items():
            proxy = proxies[role] = FaultProxy(("127.0.0.1", ports.s3.s3), notes=False)
            stack.callback(proxy.close)
            proxy.always = dict.fromkeys(("GET", "HEAD", "PUT", "POST", "DELETE"), kept.note)
        specs = {spec.name: spec for spec in process_specs(folder, known, ports, dict(extra or {}))}
        specs["s3"] = with_identities(specs["s3"], folder.root / "identities.json", credentials)
        specs["llm-server"] = dataclasses.replace(
            specs["llm-server"], command=(sys.executable, str(STUB), "--port", str(ports.llm), "--seconds", "0.01")
        )
        for name, fault in (faults or {}).items():
            specs[name] = dataclasses.replace(specs[name], env={**specs[name].env, "SYNFARM_FAULTS": fault})
        plain = StoreSettings(endpoint=f"127.0.0.1:{ports.s3.s3}")
        settings = {role: own.into(plain) for role, own in credentials.items()}
        servers = [specs.pop(name) for name in ("redis", "s3", "llm-server")]
        await stack.enter_async_context(Supervisor(servers, folder.logs))
        config = ClientConfig(
            api_url=f"http://127.0.0.1:{ports.api}", trainer_url=f"http://127.0.0.1:{ports.trainer}", key=known.api_key
        )
        redis_url = f"redis://:{known.redis_password}@127.0.0.1:{ports.redis}/0"
        farm = RoleFarm(AsyncClient(config), notes, settings, folder.root, None, proxies, redis_url, config)  # type: ignore[arg-type]
        farm.as_admin("synfarm.storage")  # the bucket: no other role may make it
        waits_for = set(specs)
        services = [
            dataclasses.replace(
                _of_role(spec, credentials, proxies), after=tuple(name for name in spec.after if name in waits_for)
            )
            for spec in specs.values()
        ]
        farm.supervisor = Supervisor(services, folder.logs)
        await stack.enter_async_context(farm.supervisor)
        stack.push_async_callback(farm.client.close)
        yield farm


def kind_of(key: str | None) -> str:
    """A key without its ids, for a message."""
    return re.sub(r"[0-9a-z]{26}|[0-9a-f]{32,64}|[0-9]{3,}", "*", key or "(bucket)")
