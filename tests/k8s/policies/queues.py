"""Runs that wait in Kueue's queue are such as it can let go."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from tests.k8s.manifests import Manifests, Object, named
from tests.k8s.policies.running import amount

_QUEUE = "kueue.x-k8s.io/queue-name"


def queues_admit(manifests: Manifests) -> Iterator[str]:
    """The quota takes a run on two machines, and covers all that it requests: what is not covered never fits."""
    for run in manifests.of("JobSet"):
        local = manifests.find("LocalQueue", run["metadata"].get("labels", {}).get(_QUEUE, ""))
        cluster = manifests.find("ClusterQueue", local["spec"]["clusterQueue"]) if local else None
        if cluster is None:
            continue
        quota = _quota(cluster)
        for name, wanted in sorted(_wanted(run).items()):
            if name not in quota:
                yield f"{named(cluster)}: does not cover {name}, which {named(run)} requests"
            elif wanted > quota[name]:
                yield f"{named(cluster)}: has {quota[name]} {name}, and {named(run)} requests {wanted}"


def _quota(cluster: Object) -> dict[str, Decimal]:
    """The most that one flavor has of each."""
    found: dict[str, Decimal] = {}
    for group in cluster["spec"]["resourceGroups"]:
        for flavor in group["flavors"]:
            for each in flavor["resources"]:
                found[each["name"]] = max(found.get(each["name"], Decimal(0)), amount(each["nominalQuota"]))
    return found


def _wanted(run: Object) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for job in run["spec"]["replicatedJobs"]:
        spec = job["template"]["spec"]
        pods = job.get("replicas", 1) * spec.get("parallelism", 1)
        for container in spec["template"]["spec"]["containers"]:
            resources = container.get("resources", {})
            # What has only a limit requests that (core/v1 defaults).
            for name, each in {**resources.get("limits", {}), **resources.get("requests", {})}.items():
                found[name] = found.get(name, Decimal(0)) + pods * amount(each)
    return found
