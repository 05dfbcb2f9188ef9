"""Who may ask the API server for what."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.manifests import Manifests, Object, named
from tests.k8s.policies.references import asks_cluster

Right = tuple[str, str, str]
"""(API group, resource, verb)"""

LAUNCHER: set[Right] = {
    ("jobset.x-k8s.io", "jobsets", "create"),
    ("jobset.x-k8s.io", "jobsets", "get"),
    ("jobset.x-k8s.io", "jobsets", "delete"),
    ("", "pods", "list"),
}
"""What ``synfarm_trainer.launch.kubernetes.connection`` sends; a test compares the two."""


def least_rights(manifests: Manifests) -> Iterator[str]:
    """The trainer's account has exactly what its launcher asks for, in its namespace; nobody else has anything."""
    for thing in manifests.of("ClusterRole", "ClusterRoleBinding"):
        yield f"{named(thing)}: reaches beyond the namespace"
    trainers = {
        workload.pod.get("serviceAccountName") for workload in manifests.workloads if asks_cluster(manifests, workload)
    }
    held: dict[str, set[Right]] = {}
    for binding in manifests.of("RoleBinding"):
        role = manifests.find(binding["roleRef"]["kind"], binding["roleRef"]["name"])
        for subject in binding["subjects"]:
            if subject["kind"] != "ServiceAccount" or subject["name"] not in trainers:
                yield f"{named(binding)}: gives rights to {subject['kind']} {subject['name']}"
            held.setdefault(subject["name"], set()).update(rights_of(role or {}))
    for account in sorted(filter(None, trainers)):
        for group, resource, verb in sorted(held.get(account, set()) - LAUNCHER):
            yield f"ServiceAccount/{account}: may {verb} {resource} of {group or 'core'}, which the launcher never does"
        for group, resource, verb in sorted(LAUNCHER - held.get(account, set())):
            yield f"ServiceAccount/{account}: may not {verb} {resource} of {group or 'core'}, which the launcher does"


def rights_of(role: Object) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role.get("rules", [])
        for group in rule.get("apiGroups", [])
        for resource in rule.get("resources", [])
        for verb in rule["verbs"]
    }
