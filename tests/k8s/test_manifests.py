"""k8s/ as kustomize builds it: every overlay, the base, and the base with each component."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tests.k8s.checking import ALL, ALLOWED, OF_EACH, faults
from tests.k8s.manifests import REPO, Manifests, components, overlays
from tests.k8s.runs import with_runs
from tests.k8s.schemas import field_faults

Built = Callable[[str], Manifests]
STORES = ["external-s3", "minio", "seaweedfs"]
SERVERS = ["vllm"]
"""Of language models, in the place of another one."""
PARTS = ["base", *(f"component {name}" for name in components() if name not in {*STORES, *SERVERS})]
WHOLE = [
    *(f"overlay {name}" for name in overlays()),
    *(f"store {name}" for name in STORES),
    *(f"gpu {name}" for name in SERVERS),
]


@pytest.mark.parametrize("name", PARTS)
def test_part(built: Built, name: str) -> None:
    found = with_runs(built(name))
    assert [*field_faults(found), *faults(found, OF_EACH)] == []


@pytest.mark.parametrize("name", WHOLE)
def test_whole(built: Built, name: str) -> None:
    found = with_runs(built(name))
    assert [*field_faults(found), *faults(found, ALL)] == []


def test_vllm_is_all_of_the_language_model_server(built: Built) -> None:
    server = built("gpu vllm").find("Deployment", "llm-server")
    assert server is not None
    (container,) = server["spec"]["template"]["spec"]["containers"]
    assert (container["name"], container["ports"]) == ("vllm", [{"name": "http", "containerPort": 8000}])
    (compose,) = re.findall(r"image: (vllm/\S+)", (REPO / "docker-compose.gpu.yml").read_text())
    assert container["image"] == compose


def test_nothing_is_allowed_without_need(built: Built) -> None:
    if not ALLOWED:
        return
    everything = [with_runs(built(name)) for name in (*PARTS, *WHOLE)]
    for (name, begin), reason in ALLOWED.items():
        check = next(check for check in ALL if check.__name__ == name)
        assert any(sentence.startswith(begin) for each in everything for sentence in check(each)), (name, begin)
        assert reason
