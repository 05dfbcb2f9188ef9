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
            if _never(budget["spec"], workload):
                yield f"{named(budget)}: never lets a pod of {workload.name} go, so that its node cannot be drained"


def _never(spec: Object, workload: Workload) -> bool:
    replicas = workload.thing["spec"].get("replicas")
    if spec.get("maxUnavailable") in {0, "0%"} or spec.get("minAvailable") == "100%":
        return True
    least = spec.get("minAvailable")
    return isinstance(least, int) and replicas is not None and 0 < replicas <= least
