"""Fields are checked by schemas that refuse what is misspelt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.k8s.manifests import K8S, Manifests, named
from tests.k8s.runs import with_runs
from tests.k8s.schemas import VERSION, faults_of, field_faults, ours


def test_the_example_and_its_run_have_no_fault(example: list[dict[str, Any]]) -> None:
    assert list(field_faults(with_runs(Manifests(example)))) == []


@pytest.mark.parametrize(
    ("name", "path", "told"),
    [
        ("Deployment/render", "spec.template.spec.containers.0.livenesProbe", "livenesProbe"),
        ("Deployment/render", "spec.template.spec.containers.0.ports.0.containerPorts", "containerPorts"),
        ("NetworkPolicy/render", "spec.policyType", "policyType"),
        ("PodDisruptionBudget/render", "spec.maxUnavailables", "maxUnavailables"),
        ("JobSet/run-01hzzzzzzzzzzzzzzzzzzzzzz1", "spec.suspended", "suspended"),
        ("JobSet/run-01hzzzzzzzzzzzzzzzzzzzzzz1", "spec.replicatedJobs.0.template.spec.completion", "completion"),
        ("ScaledObject/render", "spec.maxReplicas", "maxReplicas"),
        ("ScaledObject/render", "spec.triggers.0.metadata.valueLocations", "valueLocations"),
        (
            "ScaledObject/render",
            "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationSeconds",
            "stabilizationSeconds",
        ),
        ("ClusterQueue/gpus", "spec.cohort", "cohort"),
        ("LocalQueue/training", "spec.clusterQueues", "clusterQueues"),
        ("PodMonitor/render", "spec.podMetricsEndpoints.0.targetport", "targetport"),
        ("PrometheusRule/alerts", "spec.groups.0.rules.0.annotation", "annotation"),
    ],
)
def test_a_field_that_is_not_there_is_refused(example: list[dict[str, Any]], name: str, path: str, told: str) -> None:
    farm = {named(thing): thing for thing in with_runs(Manifests(example)).things}
    place: Any = farm[name]
    steps = path.split(".")
    for step in steps[:-1]:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[steps[-1]] = {} if steps[-1] in {"livenesProbe", "annotation"} else "1"
    assert any(told in fault for fault in faults_of(farm[name]))


def test_an_unknown_kind_is_refused() -> None:
    thing = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledJob", "metadata": {"name": "a"}, "spec": {}}
    assert faults_of(thing) != []


def test_fields_are_those_of_the_oldest_version_that_is_promised() -> None:
    assert f"Kubernetes {VERSION} or later" in (K8S / "README.md").read_text()


def _objects(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if "properties" in tree:
            yield tree
        for value in tree.values():
            yield from _objects(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _objects(value)


def test_our_schemas_are_closed_and_tell_where_each_field_comes_from() -> None:
    assert {kind for _, kind in ours()} == {
        *("JobSet", "ScaledObject", "TriggerAuthentication", "ResourceFlavor", "ClusterQueue", "LocalQueue"),
        *("ServiceMonitor", "PodMonitor", "PrometheusRule"),
    }
    for path in (K8S / "schemas").glob("*.json"):
        for part in _objects(json.loads(path.read_text())["$defs"]):
            assert part.get("additionalProperties") is False, (path.name, part["$comment"])
            assert ".go" in part["$comment"] or "same file" in part["$comment"], (path.name, part)
