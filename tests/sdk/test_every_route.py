"""Whatever the two APIs offer under /v1, the Python client has a method for: a route without one fails here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from synfarm.auth import Authenticator
from synfarm.contracts.backgrounds import BackgroundsRequest
from synfarm.contracts.concept_sets import ConceptSetRequest
from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.runs import RunRequest
from synfarm.contracts.tries import TryRequest
from synfarm.sdk import Client, ClientConfig
from synfarm.settings import AuthSettings
from synfarm.storage.memory import MemoryStore
from synfarm_caption_api.app import create_app
from synfarm_caption_api.settings import ApiSettings
from synfarm_trainer.app import build_app
from synfarm_trainer.settings import TrainerSettings

JOB = "01hzzzzzzzzzzzzzzzzzzzzzzz"
REQUEST = JobRequest.model_validate({"concepts": ["dog"], "captions": 8})
TRY = TryRequest.model_validate({"concepts": ["dog"]})
LISTS = BackgroundsRequest.model_validate({"concepts": ["dog"]})
SET = ConceptSetRequest.model_validate({"concepts": ["robin", "wren"]})
Use = Callable[[Client], object]

METHODS: dict[str, Use] = {
    "POST /v1/jobs": lambda c: c.jobs.submit(REQUEST),
    "GET /v1/jobs": lambda c: c.jobs.list(),
    "GET /v1/jobs/{job}": lambda c: c.jobs.get(JOB),
    "DELETE /v1/jobs/{job}": lambda c: c.jobs.delete(JOB),
    "GET /v1/jobs/{job}/spec": lambda c: c.jobs.spec(JOB),
    "POST /v1/jobs/{job}/cancel": lambda c: c.jobs.cancel(JOB),
    "POST /v1/jobs/{job}/pause": lambda c: c.jobs.pause(JOB),
    "POST /v1/jobs/{job}/resume": lambda c: c.jobs.resume(JOB),
    "POST /v1/jobs/{job}/retry": lambda c: c.jobs.retry(JOB),
    "POST /v1/jobs/{job}/extend": lambda c: c.jobs.extend(JOB, 16),
    "GET /v1/jobs/{job}/captions": lambda c: c.jobs.captions(JOB),
    "GET /v1/jobs/{job}/failures": lambda c: c.jobs.failures(JOB),
    "GET /v1/jobs/{job}/shards": lambda c: c.jobs.shards(JOB),
    "GET /v1/jobs/{job}/report": lambda c: c.jobs.report(JOB),
    "GET /v1/jobs/{job}/samples": lambda c: c.jobs.samples(JOB),
    "GET /v1/jobs/{job}/samples/{caption_id}": lambda c: c.jobs.sample(JOB, f"{JOB}-0000000001"),
    "GET /v1/jobs/{job}/images/{caption_id}/{k}": lambda c: c.jobs.image(JOB, f"{JOB}-0000000001", 2),
    "GET /v1/jobs/{job}/events": lambda c: next(iter(c.jobs.events(JOB))),
    "POST /v1/captions": lambda c: c.try_captions(TRY),
    "POST /v1/backgrounds": lambda c: c.make_backgrounds(LISTS),
    "GET /v1/concept-sets": lambda c: c.concept_sets(),
    "GET /v1/concept-sets/{name}": lambda c: c.concept_set("collage"),
    "PUT /v1/concept-sets/{name}": lambda c: c.put_concept_set("birds", SET),
    "DELETE /v1/concept-sets/{name}": lambda c: c.delete_concept_set("birds"),
    "GET /v1/workers": lambda c: c.workers(),
    "GET /v1/caption-files": lambda c: c.caption_files.list(),
    "GET /v1/caption-files/{name}": lambda c: c.caption_files.get("cc12m"),
    "PUT /v1/caption-files/{name}/parts/{part}": lambda c: c.caption_files.upload("cc12m", ["a dog"]),
    "POST /v1/caption-files/{name}/commit": lambda c: c.caption_files.commit("cc12m", ("ab" * 32,)),
    "GET /v1/presets": lambda c: c.runs.presets(),
    "GET /v1/presets/{name}": lambda c: c.runs.preset("tiny", {"optim.lr": 0.001}),
    "POST /v1/runs": lambda c: c.runs.start(RunRequest(jobs=(JOB,))),
    "GET /v1/runs": lambda c: c.runs.list(),
    "GET /v1/runs/{run}": lambda c: c.runs.get(JOB),
    "GET /v1/runs/{run}/spec": lambda c: c.runs.spec(JOB),
    "GET /v1/runs/{run}/metrics": lambda c: c.runs.metrics(JOB),
    "GET /v1/runs/{run}/events": lambda c: next(iter(c.runs.events(JOB))),
    "GET /v1/runs/{run}/checkpoints": lambda c: c.runs.checkpoints(JOB),
    "GET /v1/runs/{run}/evals": lambda c: c.runs.evals(JOB),
    "GET /v1/runs/{run}/artifacts": lambda c: c.runs.artifacts(JOB),
    "GET /v1/runs/{run}/artifacts/{name}": lambda c: c.runs.artifact(JOB, "patch-pca.png"),
    "POST /v1/runs/{run}/stop": lambda c: c.runs.stop(JOB),
    "POST /v1/runs/{run}/resume": lambda c: c.runs.resume(JOB),
    "POST /v1/runs/{run}/weights": lambda c: c.runs.change_weights(JOB, [3, 1]),
}
WITHOUT: dict[str, str] = {}
"""Routes that the client is not meant to have, each with the reason."""


def _operations(document: dict[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        if path.startswith("/v1/"):
            yield from (f"{method.upper()} {path}" for method in methods)


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Of both APIs, as their OpenAPI documents have them."""
    store, folder = MemoryStore(), tmp_path_factory.mktemp("trainer")
    farm = create_app(ApiSettings(), store).openapi()
    trainer = build_app(TrainerSettings(state_dir=folder), store, Authenticator(AuthSettings(), [])).openapi()
    return {*_operations(farm), *_operations(trainer)}


def test_every_route_has_a_method(operations: set[str]) -> None:
    assert operations - METHODS.keys() - WITHOUT.keys() == set(), "add a method to both clients, and a line above"
    assert METHODS.keys() | WITHOUT.keys() <= operations, "methods of routes that are gone"
    assert not METHODS.keys() & WITHOUT.keys()


@pytest.mark.parametrize("operation", sorted(METHODS))
def test_the_method_asks_its_route(operation: str) -> None:
    """Whatever the answer is: here it is the same refusal for all."""
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(418)

    with (
        Client(ClientConfig(tries=1), transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(Exception, match="418"),
    ):
        METHODS[operation](client)
    method, path = operation.split()
    assert len(asked) == 1
    assert asked[0].method == method
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked[0].url.path)
