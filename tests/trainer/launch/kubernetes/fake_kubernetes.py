"""An API server of one namespace, as far as the launcher asks it: JobSets, pods, and the answers of the real one.

The controllers are played by the test: it says what becomes of a JobSet.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from synfarm.local.ports import HeldPorts

NAMESPACE, TOKEN = "training", "a-token"
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "AlreadyExists", 410: "Expired"}


def failure(code: int, message: str) -> JSONResponse:
    """metav1.Status, with which the server tells every refusal."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
    headers = {"Retry-After": "1"} if code == 429 else {}
    return JSONResponse({**body, "reason": _REASONS.get(code, "InternalError")}, code, headers)


class FakeApi:
    def __init__(self, schema: Any) -> None:
        """``schema``: a pydantic model of what a JobSet may be."""
        self.jobsets: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.answers: list[int] = []
        """Codes that the next requests are answered with, before anything is done."""
        self.lose_answer = False
        """The next creation is done, and its answer is a 504."""
        self.holds = True
        """What is deleted stays until its pods are gone: until :meth:`let_go`."""
        self._version = 0
        self._schema, self._held = schema, HeldPorts(1)
        self.url = f"http://127.0.0.1:{self._held.numbers[0]}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    # -- the process ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        config = uvicorn.Config(self._app(), port=self._held.numbers[0], log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(60)

    # -- the controllers ------------------------------------------------------------------------------------------

    def condition(self, name: str, kind: str, message: str = "", status: str = "True") -> None:
        conditions = self.jobsets[name].setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [condition for condition in conditions if condition["type"] != kind]
        conditions.append({"type": kind, "status": status, "reason": "Because", "message": message})

    def ready(self, name: str) -> None:
        group = {"name": "ranks", "ready": 1, "active": 1, "succeeded": 0, "failed": 0, "suspended": 0}
        self.jobsets[name].setdefault("status", {})["replicatedJobsStatus"] = [group]

    def terminated(self, name: str, code: int, message: str = "", reason: str = "Error") -> None:
        state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
        status = {"containerStatuses": [{"name": "trainer", "state": state}]}
        self.pods.setdefault(name, []).append({"metadata": {"name": f"{name}-0"}, "status": status})

    def let_go(self, name: str) -> None:
        """The pods of a JobSet that is deleted have ended."""
        assert self.jobsets[name]["metadata"].get("deletionTimestamp")
        del self.jobsets[name]
        self.pods.pop(name, None)

    # -- the answers ----------------------------------------------------------------------------------------------

    def _app(self) -> FastAPI:
        app = FastAPI()
        jobsets = f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{NAMESPACE}/jobsets"

        @app.middleware("http")
        async def first(request: Request, go_on: Any) -> Response:
            self.asked.append((request.method, request.url.path))
            if self.answers:
                code = self.answers.pop(0)
                return failure(code, f"planned {code}")
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return failure(401, "Unauthorized")
            answer: Response = await go_on(request)
            return answer if answer.status_code < 300 or "x-ours" in answer.headers else failure(404, "no such path")

        def ours(answer: JSONResponse) -> JSONResponse:
            answer.headers["x-ours"] = "1"
            return answer

        @app.post(jobsets)
        async def create(request: Request) -> JSONResponse:
            body = await request.json()
            try:
                self._schema.model_validate(body)
            except ValidationError as error:
                return ours(failure(422, f"JobSet is invalid: {error}"))
            name = body["metadata"]["name"]
            if name in self.jobsets:
                return ours(failure(409, f'jobsets.jobset.x-k8s.io "{name}" already exists'))
            self._version += 1
            made = {"uid": str(uuid.uuid4()), "resourceVersion": str(self._version), "namespace": NAMESPACE}
            self.jobsets[name] = {**body, "metadata": {**body["metadata"], **made}}
            if self.lose_answer:
                self.lose_answer = False
                return ours(failure(504, "the request timed out, and was done"))
            return JSONResponse(self.jobsets[name], 201)

        @app.get(jobsets + "/{name}")
        async def get(name: str) -> JSONResponse:
            if name not in self.jobsets:
                return ours(failure(404, f'jobsets.jobset.x-k8s.io "{name}" not found'))
            return JSONResponse(self.jobsets[name])

        @app.delete(jobsets + "/{name}")
        async def delete(name: str, request: Request) -> JSONResponse:
            self.bodies.append(await request.json())
            if name not in self.jobsets:
                return ours(failure(404, f'jobsets.jobset.x-k8s.io "{name}" not found'))
            self.jobsets[name]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            found = self.jobsets[name]
            if not self.holds:
                self.let_go(name)
            return JSONResponse(found)

        @app.get(f"/api/v1/namespaces/{NAMESPACE}/pods")
        async def pods(labelSelector: str) -> JSONResponse:
            name = labelSelector.removeprefix("jobset.sigs.k8s.io/jobset-name=")
            return JSONResponse({"kind": "PodList", "apiVersion": "v1", "items": self.pods.get(name, [])})

        return app
