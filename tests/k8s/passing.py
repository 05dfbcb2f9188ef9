"""What NetworkPolicies let pass.

How they combine (``content/en/docs/concepts/services-networking/network-policies.md`` of kubernetes/website): a pod
that no policy selects for a direction is open in it; one that is selected is open for the union of their rules, and a
connection needs both ends to allow it.
"""

from __future__ import annotations

from tests.k8s.manifests import Manifests, Object, Workload, selects, selects_all


def out(manifests: Manifests, source: Workload, target: Workload | None, port: int, protocol: str) -> bool:
    """``target``: None stands for whoever is outside this namespace."""
    return _open(manifests, "Egress", source, target, port, protocol, target)


def into(manifests: Manifests, target: Workload, source: Workload | str | None, port: int) -> bool:
    """``source``: a string is the name of another namespace, None any of them."""
    return _open(manifests, "Ingress", target, source, port, "TCP", target)


def _open(
    manifests: Manifests,
    way: str,
    subject: Workload,
    peer: Workload | str | None,
    port: int,
    protocol: str,
    listener: Workload | None,
) -> bool:
    chosen = [
        policy["spec"]
        for policy in manifests.of("NetworkPolicy")
        if way in ways(policy["spec"]) and selects(policy["spec"]["podSelector"], subject.labels)
    ]
    rules = [rule for spec in chosen for rule in spec.get(way.lower()) or []]
    side = "to" if way == "Egress" else "from"
    names = {name for name, number in listener.ports.items() if number == port} if listener else set()
    return not chosen or any(
        _port(rule.get("ports"), port, protocol, names) and _peers(rule.get(side), peer) for rule in rules
    )


def ways(spec: Object) -> list[str]:
    given: list[str] = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    return given


def _port(allowed: list[Object] | None, port: int, protocol: str, names: set[str]) -> bool:
    if not allowed:
        return True
    for each in allowed:
        if each.get("protocol", "TCP") != protocol:
            continue
        first = each.get("port")
        if first is None or first in names or first == port:
            return True
        if isinstance(first, int) and first <= port <= each.get("endPort", first):
            return True
    return False


def _peers(allowed: list[Object] | None, peer: Workload | str | None) -> bool:
    if not allowed:
        return True
    for each in allowed:
        if peer is None:
            if "ipBlock" in each or "namespaceSelector" in each:
                return True
        elif isinstance(peer, str):
            # Every namespace has this label (kubernetes/website, reference/labels-annotations-taints).
            labels = {"kubernetes.io/metadata.name": peer}
            if "namespaceSelector" in each and selects(each["namespaceSelector"], labels):
                return True
        elif (
            "ipBlock" not in each
            and not each.get("namespaceSelector")
            and selects(each.get("podSelector", {}), peer.labels)
        ):
            return True
    return False


def shuts_all(spec: Object) -> bool:
    both = set(ways(spec)) == {"Ingress", "Egress"}
    return both and selects_all(spec["podSelector"]) and not spec.get("ingress") and not spec.get("egress")
