"""Every field of every object is one that its kind has.

Kinds of Kubernetes itself are checked by the strict schemas that the package ``kubernetes-validate`` carries; kinds of
other projects by ours in k8s/schemas, which hold no more than what synfarm writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
import kubernetes_validate
from tests.k8s.manifests import K8S, Manifests, Object, named

VERSION = "1.30"
"""Of Kubernetes: the oldest that the manifests are made for."""


def field_faults(manifests: Manifests) -> Iterator[str]:
    for thing in manifests.things:
        for fault in faults_of(thing):
            yield f"{named(thing)}: {fault}"


def faults_of(thing: Object) -> list[str]:
    return list(_cached(json.dumps(thing, sort_keys=True)))


@cache
def _cached(text: str) -> tuple[str, ...]:
    """Builds share most of their objects."""
    thing = json.loads(text)
    kind = (thing["apiVersion"], thing["kind"])
    if kind in ours():
        return (*_by_ours(thing), *_parts(thing))
    return tuple(_by_kubernetes(thing))


def _by_kubernetes(thing: Object) -> Iterator[str]:
    try:
        kubernetes_validate.validate(thing, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield str(error.message)


def _by_ours(thing: Object) -> Iterator[str]:
    for error in ours()[thing["apiVersion"], thing["kind"]].iter_errors(thing):
        yield f"{'.'.join(map(str, error.instance_path))}: {error.message}"


def _parts(thing: Object) -> Iterator[str]:
    """What of other projects' objects is Kubernetes' own."""
    spec = thing.get("spec", {})
    for job in spec.get("replicatedJobs", []) if thing["kind"] == "JobSet" else []:
        whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, **job.get("template", {})}
        yield from (f"replicatedJobs.template.{fault}" for fault in _by_kubernetes(whole))
    behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior")
    if thing["kind"] == "ScaledObject" and behavior is not None:
        target = {"kind": "Deployment", "name": "any"}
        whole = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {}}
        whole["spec"] = {"scaleTargetRef": target, "maxReplicas": 1, "behavior": behavior}
        yield from (f"advanced.{fault}" for fault in _by_kubernetes(whole))


@cache
def ours() -> dict[tuple[str, str], Any]:
    """Validators of k8s/schemas, by (apiVersion, kind)."""
    found = {}
    for path in sorted((K8S / "schemas").glob("*.json")):
        parts = json.loads(path.read_text())["$defs"]
        for name, schema in parts.items():
            fields = schema.get("properties", {})
            if "apiVersion" in fields:
                whole = {"$ref": f"#/$defs/{name}", "$defs": parts}
                found[fields["apiVersion"]["const"], name] = jsonschema_rs.validator_for(whole)
    return found
