"""Which machines pods lie on, what these must have, and when they may go."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cache

from tests.k8s.manifests import Manifests, Object, Workload
from tests.k8s.policies.running import amount

from synfarm_trainer.presets import preset_names, resolve

_LOCAL = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
_STAY = {"karpenter.sh/do-not-disrupt": "true", "cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
_LARGE = 16 * 2**30
"""Bytes of scratch that not every machine has beside all else."""
_LOGS = 8 * 2**30
"""Bytes of a run's journals, logs and drafts beside the shards that it keeps."""
_STATE = "/var/lib/synfarm/state"


def rollouts_recover(manifests: Manifests) -> Iterator[str]:
    """One pod of a StatefulSet that never becomes ready is replaced when its template is set right.

    Not so with the default OrderedReady (kubernetes/kubernetes#67250), which with one pod orders nothing.
    """
    for workload in manifests.workloads:
        spec = workload.thing["spec"]
        if workload.kind == "StatefulSet" and spec.get("podManagementPolicy") != "Parallel":
            yield f"{workload.name}: a broken pod stays so, whatever is applied: podManagementPolicy is not Parallel"


def machines_let_go(manifests: Manifests) -> Iterator[str]:
    """Autoscalers of machines: scratch holds none of them, and a run that computes is left alone.

    Source: ``cluster-autoscaler/FAQ.md`` of kubernetes/autoscaler; ``designs`` of kubernetes-sigs/karpenter.
    """
    for workload in manifests.workloads:
        notes = workload.template.get("metadata", {}).get("annotations", {})
        kept = {name for name in _on_disk(workload) if workload.stays} - set(notes.get(_LOCAL, "").split(","))
        if kept:
            yield f"{workload.name}: its volume {min(kept)} keeps a machine that nobody needs: {_LOCAL}"
        if workload.kind == "JobSet" and not _STAY.items() <= notes.items():
            yield f"{workload.name}: its machines are taken from it to put them together: {' and '.join(_STAY)}"


def disk_asked_for(manifests: Manifests) -> Iterator[str]:
    """Large scratch is requested, so that a pod goes where there is room, and a run's holds what its presets keep."""
    keeps = _kept_by_presets()
    for workload in manifests.workloads:
        sizes = _on_disk(workload)
        largest = max(sizes.values(), default=Decimal(0))
        asked = sum(_requests(each).get("ephemeral-storage", Decimal(0)) for each in workload.mains)
        if largest > _LARGE and asked < largest:
            yield f"{workload.name}: requests {asked} bytes of ephemeral-storage, and a volume of it may take {largest}"
        if workload.kind == "JobSet":
            names = {mount["name"] for each in workload.mains for mount in each["volumeMounts"] if _is_state(mount)}
            if any(sizes.get(name, Decimal(0)) < keeps + _LOGS for name in names):
                # kubelet, pkg/kubelet/eviction: emptyDirLimitEviction gives no grace period and sets no condition.
                yield f"{workload.name}: presets keep {keeps} bytes of shards in {_STATE}, and then the pod is killed"


def off_spot(manifests: Manifests) -> Iterator[str]:
    """Where one workload is for machines that may be taken back, all that stays keeps away from these."""
    labels = {key for workload in manifests.workloads for key in _labels(workload, "In")}
    for workload in manifests.workloads:
        if not (workload.stays or workload.kind == "JobSet") or _labels(workload, "In"):
            continue
        if missing := labels - set(_labels(workload, "NotIn")):
            yield f"{workload.name}: may lie on machines with {min(missing)}, which are taken back"


@cache
def _kept_by_presets() -> int:
    """Bytes of shards, at most."""
    return max(resolve(name).data.cache_disk_mib for name in preset_names()) << 20


def _on_disk(workload: Workload) -> dict[str, Decimal]:
    """Sizes of its emptyDirs that are not memory, by name."""
    return {
        volume["name"]: amount(volume["emptyDir"].get("sizeLimit", 0))
        for volume in workload.pod.get("volumes", [])
        if "emptyDir" in volume and volume["emptyDir"] and volume["emptyDir"].get("medium") != "Memory"
    }


def _requests(container: Object) -> dict[str, Decimal]:
    return {name: amount(each) for name, each in container.get("resources", {}).get("requests", {}).items()}


def _is_state(mount: Object) -> bool:
    return bool(mount["mountPath"] == _STATE)


def _labels(workload: Workload, operator: str) -> list[str]:
    """Keys of machines' labels that a pod must find (``In``) or must not (``NotIn``), as the term that says least."""
    affinity = (workload.pod.get("affinity") or {}).get("nodeAffinity") or {}
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    found = [
        {rule["key"] for rule in term.get("matchExpressions", []) if rule["operator"] == operator} for term in terms
    ]
    if not found:
        return []
    return sorted(set.union(*found) if operator == "In" else set.intersection(*found))
