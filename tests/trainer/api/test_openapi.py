"""The OpenAPI document says of every route what it does, what it may refuse, and how both look."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from synfarm.auth import Authenticator
from synfarm.contracts import pages, presets, runs, views
from synfarm.contracts.mixing import MixRequest
from synfarm.contracts.problems import Problem
from synfarm.contracts.runs import RunRequest
from synfarm.settings import AuthSettings
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.api.describing import load_examples
from synfarm_trainer.app import build_app
from synfarm_trainer.settings import TrainerSettings

Operation = dict[str, Any]
contracts = SimpleNamespace(**{**vars(pages), **vars(presets), **vars(runs), **vars(views)})


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    settings = TrainerSettings(state_dir=tmp_path_factory.mktemp("trainer"))
    return build_app(settings, MemoryStore(), Authenticator(AuthSettings(), []))


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, Operation]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1")
    }


def test_every_route_is_described(document: dict[str, Any], operations: dict[str, Operation]) -> None:
    assert len(operations) >= 14
    tags = {tag["name"] for tag in document["tags"]}
    summaries = [operation["summary"] for operation in operations.values()]
    assert len(set(summaries)) == len(summaries)
    for name, operation in operations.items():
        assert operation["summary"] != operation["summary"].title(), f"{name}: a summary of its own"
        assert operation["description"].strip(), name
        assert set(operation["tags"]) <= tags, name
        assert operation["security"] == [{"key": []}], name


def test_every_route_says_what_it_may_refuse_and_how(operations: dict[str, Operation]) -> None:
    for name, operation in operations.items():
        refused = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        assert {"401", "503"} <= set(refused), name
        assert "404" in refused or "{" not in name, name
        assert ("422" in refused) == ("requestBody" in operation or "parameters" in operation), name
        for status, answer in refused.items():
            example = answer["content"]["application/problem+json"]["example"]
            assert Problem.model_validate(example).status == int(status)
    assert "409" in operations["POST /v1/runs/{run}/resume"]["responses"]
    assert {"206", "304", "416"} <= set(operations["GET /v1/runs/{run}/artifacts/{name}"]["responses"])


def test_every_body_has_examples_that_the_models_take(operations: dict[str, Operation]) -> None:
    for name, operation in operations.items():
        if "requestBody" in operation:
            for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
                (MixRequest if name.endswith("/weights") else RunRequest).model_validate(example["value"])
                assert example["summary"]
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json")
            if int(status) < 400 and content is not None:
                model = getattr(contracts, content["schema"]["$ref"].rpartition("/")[2])
                assert content["examples"], (name, status)
                for example in content["examples"].values():
                    model.model_validate_json(json.dumps(example["value"]))
    assert set(load_examples()) <= set(operations), "examples of routes that are gone"
