"""Where pods lie, broken in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.k8s.changing import Farm, drop, pod, replace, spec

RENDER, STORE, POD = "Deployment/render", "StatefulSet/store", "ConfigMap/run-pod"
_SPOT = "karpenter.sh/capacity-type"


def only_on(farm: Farm, name: str, operator: str, *more: Any) -> None:
    """Machines with the label, or without."""
    terms = [{"matchExpressions": [{"key": _SPOT, "operator": operator, "values": ["spot"]}]}, *more]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    pod(farm, name)["affinity"] = {"nodeAffinity": required}


def half_off_spot(farm: Farm) -> None:
    """Terms are alternatives: the second lets in what the first keeps out."""
    only_on(farm, RENDER, "In")
    only_on(farm, STORE, "NotIn", {"matchExpressions": [{"key": "a", "operator": "Exists"}]})


def yields() -> Any:
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "low"}, "value": -5}


BROKEN_MACHINES: list[tuple[str, Callable[[Farm], Any], str]] = [
    ("named_things_exist", lambda f: pod(f, RENDER).update(priorityClassName="low"), "PriorityClass low is not there"),
    ("nothing_is_left_over", lambda f: f.update(p=yields()), "PriorityClass/low: nothing uses it"),
    ("rollouts_recover", lambda f: drop(spec(f, STORE), "podManagementPolicy"), "store: a broken pod stays so"),
    ("rollouts_recover", lambda f: spec(f, STORE).update(podManagementPolicy="OrderedReady"), "is not Parallel"),
    ("machines_let_go", lambda f: drop(spec(f, RENDER)["template"]["metadata"], "annotations"), "its volume cache"),
    ("machines_let_go", lambda f: replace(f, POD, "do-not-disrupt", "may-disrupt"), "JobSet.* are taken from it"),
    ("machines_let_go", lambda f: replace(f, POD, 'evict: "false"', 'evict: "true"'), "JobSet.* are taken from it"),
    ("disk_asked_for", lambda f: replace(f, POD, "storage: 80Gi", "storage: 79Gi"), "JobSet.* ephemeral-storage"),
    ("disk_asked_for", lambda f: replace(f, POD, "sizeLimit: 80Gi", "sizeLimit: 64Gi"), "and then the pod is killed"),
    ("disk_asked_for", lambda f: pod(f, RENDER)["volumes"][1].update(emptyDir={"sizeLimit": "32Gi"}), "render: req"),
    ("off_spot", lambda f: only_on(f, RENDER, "In"), "store: may lie on machines with karpenter.sh/capacity-type"),
    ("off_spot", lambda f: only_on(f, RENDER, "In"), "JobSet.* may lie on machines with karpenter"),
    ("off_spot", half_off_spot, "StatefulSet/store: may lie on machines with karpenter"),
]
