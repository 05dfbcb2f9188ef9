"""Which names a server without keys answers to: a page of the internet must not use it through the visitor's browser.

Such a page can let its own name point at 127.0.0.1 (DNS rebinding): the browser then takes this server for the page's
own and sends what the page's script asks for. Only the ``Host`` header tells.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any

from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, ProblemError

__all__ = ["HostCheck", "is_own_name"]


def is_own_name(host: str, allowed: Collection[str] = ()) -> bool:
    """Whether a ``Host`` header names this server in a way that no page of the internet can.

    Addresses, ``localhost`` and names without a dot (of containers and of the local network) do, and those ``allowed``.
    """
    name = host.strip().casefold()
    name = name[1 : name.find("]")] if name.startswith("[") else name.rpartition(":")[0] or name
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(".localhost") or name in {one.casefold() for one in allowed}
    return True


class HostCheck:
    """ASGI middleware: answers 421 to names that are not this server's."""

    def __init__(self, app: Any, allowed: Collection[str] = ()) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            if not is_own_name(host, self._allowed):
                problem = ProblemError(
                    421,
                    "host_unknown",
                    f"This server has no keys and does not answer to the name {host[:80]!r}.",
                    field="Host",
                    hint="Use its address, or let its operator set SYNFARM_AUTH_HOSTS or a key file.",
                ).problem
                # By hand: this module loads in the smallest installation, which has no web framework.
                headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode())]
                await send({"type": "http.response.start", "status": 421, "headers": headers})
                await send({"type": "http.response.body", "body": problem.to_bytes()})
                return
        await self._app(scope, receive, send)
