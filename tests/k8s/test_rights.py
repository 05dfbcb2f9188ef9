"""The rights that manifests give are those that the launcher's requests need."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial

import httpx
import pytest
from tests.k8s.policies.rights import LAUNCHER, Right

from synfarm_trainer.launch.kubernetes.connection import Connection
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings

_CALLS: dict[str, Callable[[Connection], object]] = {
    "create": lambda connection: connection.create({"metadata": {"name": "a"}}),
    "get": lambda connection: connection.get("a"),
    "delete": lambda connection: connection.delete("a"),
    "pods": lambda connection: connection.pods("a"),
}
_PATH = re.compile(r"/(?:api/v1|apis/([a-z0-9.-]+)/\w+)/namespaces/[^/]+/([a-z]+)(/[^/]+)?")


def test_rights_are_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[Right] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        path = _PATH.fullmatch(request.url.path)
        assert path is not None, request.url
        # ``docs/reference/access-authn-authz/authorization.md`` of kubernetes/website: a GET of a collection is a list.
        verbs = {"POST": "create", "DELETE": "delete", "GET": "get" if path[3] else "list"}
        asked.add((path[1] or "", path[2], verbs[request.method]))
        return httpx.Response(200, json={"items": []})

    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=httpx.MockTransport(answer)))
    connection = Connection(KubernetesSettings(image="a:1", url="http://cluster", namespace="farm"))
    public = {name for name, _ in inspect.getmembers(Connection, inspect.isfunction) if not name.startswith("_")}
    assert public - {"close"} == set(_CALLS), "a request of a new kind needs a right"
    for call in _CALLS.values():
        call(connection)
    connection.close()
    assert asked == LAUNCHER
