"""What a setting needs passes, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tests.k8s.manifests import REPO, Manifests, Object, Workload, module_of, named, selects, selects_all
from tests.k8s.passing import into, out, shuts_all
from tests.k8s.policies.references import asks_cluster
from tests.k8s.policies.selectors import behind
from tests.k8s.told import environment

_ADDRESS = re.compile(r"(?:(\w+)://)?(?:[^@/\s]*@)?([A-Za-z0-9][A-Za-z0-9.-]*)(?::(\d+))?(?:/[^\s,]*)?")
_BY_SCHEME = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}
KEDA, PROMETHEUS = "keda", "monitoring"
"""Namespaces of who asks from outside, as docs/08-kubernetes.md has them."""
_OWN = {"127.0.0.1", "localhost", "0.0.0.0"}


class Target(NamedTuple):
    """Where a setting points at."""

    setting: str
    host: str
    port: int


def denied_by_default(manifests: Manifests) -> Iterator[str]:
    """One policy shuts every pod both ways, and each workload then has one of its own."""
    shut = [policy for policy in manifests.of("NetworkPolicy") if shuts_all(policy["spec"])]
    if not shut:
        yield "NetworkPolicy: none denies everything by default"
    for workload in manifests.workloads:
        own = [
            policy
            for policy in manifests.of("NetworkPolicy")
            if not selects_all(policy["spec"]["podSelector"])
            and selects(policy["spec"]["podSelector"], workload.labels)
        ]
        if not own:
            yield f"{workload.name}: has no NetworkPolicy of its own"


def narrow_policies(manifests: Manifests) -> Iterator[str]:
    """Each rule names who and which port; and what is for all pods is for names alone."""
    for policy in manifests.of("NetworkPolicy"):
        spec = policy["spec"]
        for way, side in (("ingress", "from"), ("egress", "to")):
            for rule in spec.get(way) or []:
                ports = {port.get("port") for port in rule.get("ports") or []}
                if not rule.get(side) or any(_everybody(peer) for peer in rule[side]):
                    yield f"{named(policy)}: a rule of its {way} is for everybody"
                # Pods of one run choose their ports themselves.
                elif (not ports or None in ports) and rule[side] != [{"podSelector": spec["podSelector"]}]:
                    yield f"{named(policy)}: a rule of its {way} is for every port"
                if selects_all(spec["podSelector"]) and ports != {53}:
                    yield f"{named(policy)}: opens more than DNS to every pod"


def _everybody(peer: Object) -> bool:
    """All pods of a namespace that is not told, or of all namespaces."""
    if "ipBlock" in peer:
        return not peer["ipBlock"].get("cidr")
    if "namespaceSelector" in peer:
        return selects_all(peer["namespaceSelector"])
    return selects_all(peer.get("podSelector"))


def apis_reached(manifests: Manifests) -> Iterator[str]:
    """Who uses an API comes from another namespace, through its Service."""
    for workload in manifests.workloads:
        if not {module_of(container) for container in workload.mains} & {"synfarm_caption_api", "synfarm_trainer"}:
            continue
        services = [each for each in manifests.of("Service") if workload in behind(manifests, each)]
        if not services:
            yield f"{workload.name}: no Service leads to it"
        for port in workload.ports.values():
            if not into(manifests, workload, None, port):
                yield f"{workload.name}: lets no other namespace in to port {port}"


def open_where_settings_point(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads:
        targets = list(targets_of(manifests, workload))
        if targets and not all(out(manifests, workload, None, 53, protocol) for protocol in ("UDP", "TCP")):
            yield f"{workload.name}: may not ask DNS, and so finds nothing by name"
        for target in targets:
            yield from _target_faults(manifests, workload, target)
        # The Service `kubernetes` is at 443; plugins that look after its address is resolved see the server's own port.
        to_server = [out(manifests, workload, None, port, "TCP") for port in (443, 6443)]
        if asks_cluster(manifests, workload) and not all(to_server):
            yield f"{workload.name}: may not reach the API server"
        # The feeder calls the webhooks of jobs.
        if "synfarm_caption_api" in map(module_of, workload.mains) and not out(manifests, workload, None, 443, "TCP"):
            yield f"{workload.name}: may not call webhooks"


def scalers_reach(manifests: Manifests) -> Iterator[str]:
    """An autoscaler in its own namespace gets to what it asks; without an answer nothing is scaled."""
    for scaled in manifests.of("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            found = _ADDRESS.fullmatch(trigger["metadata"].get("url", ""))
            metric = trigger["metadata"].get("valueLocation", "").partition("{")[0]
            if trigger["metadata"].get("format") == "prometheus" and f'"{metric}"' not in _sources():
                yield f"{named(scaled)}: {metric} is no metric of ours"
            # It asks from another namespace: the Service's name alone means nothing there.
            host, _, rest = (found[2] if found else "").partition(".")
            service = manifests.find("Service", host)
            if found is None or service is None or not rest:
                yield f"{named(scaled)}: {trigger['metadata'].get('url')} is no Service with its namespace"
                continue
            port = int(found[3] or _BY_SCHEME.get(found[1] or "", 443))
            outer = [each for each in service["spec"]["ports"] if each["port"] == port]
            if not outer:
                yield f"{named(scaled)}: {named(service)} has no port {port}"
            for workload in behind(manifests, service):
                inner = [workload.ports.get(str(each.get("targetPort")), each.get("targetPort")) for each in outer]
                if not all(isinstance(number, int) and into(manifests, workload, KEDA, number) for number in inner):
                    yield f"{named(scaled)}: {workload.name} does not let namespace {KEDA} in to port {port}"


def policy_ports(manifests: Manifests) -> Iterator[str]:
    """A port that a policy names is one of the pods that it lets others reach."""
    for policy in manifests.of("NetworkPolicy"):
        pods = [each for each in manifests.workloads if selects(policy["spec"]["podSelector"], each.labels)]
        for rule in policy["spec"].get("ingress") or []:
            for port in {each.get("port") for each in rule.get("ports") or []} - {None}:
                for workload in pods:
                    if port not in workload.ports and port not in workload.ports.values():
                        yield f"{named(policy)}: opens port {port}, which {workload.name} has not"


def runs_meet(manifests: Manifests) -> Iterator[str]:
    """Pods of a run reach each other at every port, where NCCL chooses its own, and the store of their service."""
    trainers = [workload for workload in manifests.workloads if asks_cluster(manifests, workload)]
    for run in (workload for workload in manifests.workloads if workload.kind == "JobSet"):
        for port in (29500, 45678):
            if not (out(manifests, run, run, port, "TCP") and into(manifests, run, run, port)):
                yield f"{run.name}: its pods may not reach each other at port {port}"
        if not all(out(manifests, run, None, 53, protocol) for protocol in ("UDP", "TCP")):
            yield f"{run.name}: may not ask DNS, and so its pods do not find each other"
        for trainer in trainers:
            for target in targets_of(manifests, trainer):
                if target.setting == "SYNFARM_STORE_ENDPOINT":
                    yield from _target_faults(manifests, run, target)


def scrapes_pass(manifests: Manifests) -> Iterator[str]:
    """A monitor's targets let in who comes from another namespace, to the port that it names."""
    for monitor in manifests.of("PodMonitor", "ServiceMonitor"):
        for workload in _monitored(manifests, monitor):
            endpoints = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
            for port in {workload.ports[name] for each in endpoints if (name := each.get("port")) in workload.ports}:
                if not into(manifests, workload, PROMETHEUS, port):
                    yield f"{named(monitor)}: {workload.name} does not let namespace {PROMETHEUS} in to port {port}"


def targets_of(manifests: Manifests, workload: Workload) -> Iterator[Target]:
    for container in workload.containers:
        if module_of(container) is None:
            continue
        for name, value in environment(manifests, container).items():
            if not name.startswith("SYNFARM_") or not value or not name.endswith(("_URL", "_ENDPOINT")):
                continue
            for part in value.split(","):
                found = _ADDRESS.fullmatch(part.strip())
                if found and found[2] not in _OWN:
                    default = _BY_SCHEME.get(found[1] or "", 443)
                    yield Target(name, found[2], int(found[3] or default))


def _target_faults(manifests: Manifests, workload: Workload, target: Target) -> Iterator[str]:
    where = f"{workload.name}: {target.setting} points at {target.host}:{target.port}"
    service = manifests.find("Service", target.host.partition(".")[0])
    if service is None:
        if "." not in target.host:
            yield f"{where}, and there is no such Service"
        elif not out(manifests, workload, None, target.port, "TCP"):
            yield f"{where}, where no egress rule leads"
        return
    ports = [port for port in service["spec"]["ports"] if port["port"] == target.port]
    if not ports:
        yield f"{where}, a port that this Service has not"
    for port in ports:
        for other in behind(manifests, service):
            # Policies see the pod's port, not the Service's.
            inner = port.get("targetPort", port["port"])
            number = other.ports[inner] if isinstance(inner, str) and inner in other.ports else inner
            if not isinstance(number, int):
                continue  # told by service_ports
            if not out(manifests, workload, other, number, "TCP"):
                yield f"{where}, where its egress does not lead"
            if not into(manifests, other, workload, number):
                yield f"{where}, which does not let it in"


@cache
def _sources() -> str:
    return "".join(path.read_text() for path in REPO.glob("services/*/synfarm_*/**/*.py"))


def _monitored(manifests: Manifests, monitor: Object) -> list[Workload]:
    selector = monitor["spec"]["selector"]
    if monitor["kind"] == "PodMonitor":
        return [workload for workload in manifests.workloads if selects(selector, workload.labels)]
    services = [each for each in manifests.of("Service") if selects(selector, each["metadata"].get("labels", {}))]
    return [workload for service in services for workload in behind(manifests, service)]
