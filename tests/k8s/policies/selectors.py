"""Labels and names by which objects find each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.k8s.manifests import Manifests, Object, Workload, named, selects, selects_all


def selectors_match(manifests: Manifests) -> Iterator[str]:
    """Each selects the pods that it is for; the API server takes one that selects nothing without a word."""
    for workload in manifests.workloads:
        if workload.stays:
            yield from _of_workload(manifests, workload)
        for spread in workload.pod.get("topologySpreadConstraints", []):
            if selects_all(spread.get("labelSelector")) or not selects(spread["labelSelector"], workload.labels):
                yield f"{workload.name}: a topologySpreadConstraint counts other pods than its own"
    for service in manifests.of("Service"):
        if not behind(manifests, service):
            yield f"{named(service)}: selects no pod"
    for thing in manifests.of("PodDisruptionBudget", "NetworkPolicy"):
        selector = thing["spec"].get("selector") or thing["spec"].get("podSelector") or {}
        if not any(selects(selector, workload.labels) for workload in manifests.workloads):
            yield f"{named(thing)}: selects no pod"
    for thing in manifests.of("ScaledObject", "HorizontalPodAutoscaler"):
        target = thing["spec"]["scaleTargetRef"]
        scaled = manifests.find(target.get("kind", "Deployment"), target["name"])
        if scaled is None:
            yield f"{named(thing)}: scales {target['name']}, which is not there"
        elif "replicas" in scaled["spec"]:
            # Every apply would set it back to that number.
            yield f"{named(thing)}: {named(scaled)} has replicas of its own"


def _of_workload(manifests: Manifests, workload: Workload) -> Iterator[str]:
    selector = workload.thing["spec"]["selector"]
    if not selects(selector, workload.labels):
        yield f"{workload.name}: its selector does not match its own pods"
    for other in manifests.workloads:
        if other is not workload and selects(selector, other.labels):
            yield f"{workload.name}: its selector takes the pods of {other.name} too"
    if workload.kind == "StatefulSet" and manifests.find("Service", workload.thing["spec"]["serviceName"]) is None:
        yield f"{workload.name}: its Service {workload.thing['spec']['serviceName']} is not there"


def service_ports(manifests: Manifests) -> Iterator[str]:
    """Each leads to a port that a container of its pods has."""
    for service in manifests.of("Service"):
        if not service["spec"].get("ports"):
            yield f"{named(service)}: has no port"
        for port in service["spec"].get("ports", []):
            target = port.get("targetPort", port["port"])
            for workload in behind(manifests, service):
                if target not in workload.ports and target not in workload.ports.values():
                    yield f"{named(service)}: port {port['port']} leads to {target}, which {workload.name} has not"


def monitors_find(manifests: Manifests) -> Iterator[str]:
    """A monitor that selects nothing, or names a port that is not there, is silence that looks like health."""
    for monitor in manifests.of("ServiceMonitor"):
        selector, endpoints = monitor["spec"]["selector"], monitor["spec"]["endpoints"]
        found = [thing for thing in manifests.of("Service") if selects(selector, _labels(thing))]
        ports = [{port.get("name") for port in thing["spec"]["ports"]} for thing in found]
        yield from _monitor_faults(monitor, endpoints, found, ports)
    for monitor in manifests.of("PodMonitor"):
        selector, endpoints = monitor["spec"]["selector"], monitor["spec"]["podMetricsEndpoints"]
        pods = [workload for workload in manifests.workloads if selects(selector, workload.labels)]
        yield from _monitor_faults(monitor, endpoints, pods, [set(workload.ports) for workload in pods])


def _monitor_faults(monitor: Object, endpoints: list[Object], found: list[Any], ports: list[Any]) -> Iterator[str]:
    if not found:
        yield f"{named(monitor)}: selects nothing"
    for endpoint in endpoints:
        if found and not all(endpoint.get("port") in each for each in ports):
            yield f"{named(monitor)}: its port {endpoint.get('port')} is not one of all that it selects"


def behind(manifests: Manifests, service: Object) -> list[Workload]:
    """The workloads whose pods answer for a Service."""
    selector = {"matchLabels": service["spec"].get("selector") or {}}
    return [
        workload
        for workload in manifests.workloads
        if workload.stays and selector["matchLabels"] and selects(selector, workload.labels)
    ]


def _labels(thing: Object) -> dict[str, str]:
    found: dict[str, str] = thing["metadata"].get("labels", {})
    return found
