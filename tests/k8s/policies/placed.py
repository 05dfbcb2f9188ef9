"""Objects are where they belong, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.k8s.manifests import Manifests, named

_OF_THE_CLUSTER = {"Namespace", "ClusterQueue", "ResourceFlavor", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
"""Kinds without a namespace."""


def one_namespace(manifests: Manifests) -> Iterator[str]:
    """What has none goes to whichever namespace the user's context is in."""
    spaces = [thing["metadata"]["name"] for thing in manifests.of("Namespace")]
    if len(spaces) != 1:
        yield f"Namespace: there are {len(spaces)}, and one is wanted"
        return
    for thing in manifests.things:
        # A run is made in its trainer's own.
        if thing["kind"] not in _OF_THE_CLUSTER | {"JobSet"} and thing["metadata"].get("namespace") != spaces[0]:
            yield f"{named(thing)}: is in namespace {thing['metadata'].get('namespace')}, not in {spaces[0]}"
    for binding in manifests.of("RoleBinding"):
        for subject in binding["subjects"]:
            if subject.get("namespace") != spaces[0]:
                yield f"{named(binding)}: its {subject['kind']} {subject['name']} is not in {spaces[0]}"


def restricted_namespace(manifests: Manifests) -> Iterator[str]:
    """The API server itself refuses pods that are not restricted."""
    for thing in manifests.of("Namespace"):
        if thing["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{named(thing)}: does not enforce restricted pods"


def whole_pods(manifests: Manifests) -> Iterator[str]:
    """core/v1 and batch/v1 validation, of which schemas know nothing."""
    for workload in manifests.workloads:
        if not workload.mains:
            yield f"{workload.name}: has no container"
        for each in workload.containers:
            sources = [source.keys() - {"prefix"} for source in each.get("envFrom", [])]
            sources += [variable["valueFrom"].keys() for variable in each.get("env", []) if "valueFrom" in variable]
            if not all(len(source) == 1 for source in sources):
                yield f"{workload.name}: {each['name']}: a variable has no source"
        again = workload.pod.get("restartPolicy", "Always")
        if (again == "Always") is not workload.stays:
            yield f"{workload.name}: a {workload.kind} cannot have the restartPolicy {again}"


def nothing_twice(manifests: Manifests) -> Iterator[str]:
    """core/v1 validation: names and places within a pod are unique."""
    for workload in manifests.workloads:
        pod = workload.pod
        lists = [("volume", [each["name"] for each in pod.get("volumes", [])])]
        lists.append(("container", [each["name"] for each in workload.containers]))
        lists.append(("port", [each.get("name") for main in workload.mains for each in main.get("ports", [])]))
        for each in workload.containers:
            # Of two values of a variable the later one counts, and nobody sees which was meant.
            lists.append(("variable", [variable["name"] for variable in each.get("env", [])]))
            lists.append(("mount", [mount["mountPath"] for mount in each.get("volumeMounts", [])]))
        for what, names in lists:
            for name in (name for name, count in Counter(names).items() if count > 1):
                yield f"{workload.name}: {what} {name} is there twice"
