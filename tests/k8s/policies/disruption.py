"""What a drained node may take away."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.manifests import Manifests, Object, Workload, named, selects


def disruption_budgets(manifests: Manifests) -> Iterator[str]:
    """One budget for each workload that stays, and none that never lets a node go."""
    budgets = manifests.of("PodDisruptionBudget")
    for workload in manifests.workloads:
        if not workload.stays:
            continue
        own = [budget for budget in budgets if selects(budget["spec"]["selector"], workload.labels)]
        if len(own) != 1:
            # With two, the eviction API answers every request with an error.
            yield f"{workload.name}: has {len(own)} PodDisruptionBudgets, and needs one"
        for budget in own:
            if not {"minAvailable", "maxUnavailable"} & budget["spec"].keys():
                yield f"{named(budget)}: says neither minAvailable nor maxUnavailable"
            if _never(budget["spec"], workload, scaled(manifests, workload)):
                yield f"{named(budget)}: never lets a pod of {workload.name} go, so that its node cannot be drained"


def spread_out(manifests: Manifests) -> Iterator[str]:
    """Several pods of one workload are kept apart, so that a machine takes one of them with it."""
    for workload in manifests.workloads:
        several = workload.stays and (scaled(manifests, workload) or workload.thing["spec"].get("replicas", 1) > 1)
        keys = {each["topologyKey"] for each in workload.pod.get("topologySpreadConstraints", [])}
        if several and "kubernetes.io/hostname" not in keys:
            yield f"{workload.name}: nothing spreads its pods over machines"


def scaled(manifests: Manifests, workload: Workload) -> bool:
    """Whether the number of its pods is an autoscaler's."""
    targets = [thing["spec"]["scaleTargetRef"] for thing in manifests.of("ScaledObject", "HorizontalPodAutoscaler")]
    return any(f"{target.get('kind', 'Deployment')}/{target['name']}" == workload.name for target in targets)


def _never(spec: Object, workload: Workload, by_scaler: bool) -> bool:
    replicas = None if by_scaler else workload.thing["spec"].get("replicas", 1)
    if spec.get("maxUnavailable") in {0, "0%"} or spec.get("minAvailable") == "100%":
        return True
    least = spec.get("minAvailable")
    return isinstance(least, int) and replicas is not None and 0 < replicas <= least
