"""The JobSet of one start of a run, as a plain object.

Fields are those of jobset.x-k8s.io/v1alpha2 (``api/jobset/v1alpha2/jobset_types.go`` of kubernetes-sigs/jobset), of
batch/v1 Job (``podFailurePolicy``: KEP-3329) and of core/v1 Pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synfarm_trainer.launch.codes import FINAL, NOT_COUNTED, ExitCode
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings

__all__ = ["ATTEMPT", "CONTAINER", "RUN", "jobset_name", "jobset_of", "nodes_of"]

RUN, ATTEMPT = "synfarm.dev/run", "synfarm.dev/attempt"
CONTAINER, _GROUP = "trainer", "ranks"
_STATE = "/var/lib/synfarm/state"
_QUEUE = "kueue.x-k8s.io/queue-name"


def jobset_name(run: str) -> str:
    """One name for all starts of a run: a second one beside the first cannot be made."""
    return f"run-{run}"


def nodes_of(ranks: int, most: int) -> int:
    """The fewest machines that share ``ranks`` evenly, ``most`` on each."""
    return next(nodes for nodes in range(-(-ranks // most), ranks + 1) if ranks % nodes == 0)


def jobset_of(
    run: str, attempt: int, ranks: int, settings: KubernetesSettings, template: Mapping[str, Any]
) -> dict[str, Any]:
    """``template`` is laid over our pod, but for what the launcher itself relies on."""
    name, nodes = jobset_name(run), nodes_of(ranks, settings.ranks_per_node)
    labels = {
        "app.kubernetes.io/name": "synfarm-run",
        "app.kubernetes.io/managed-by": "synfarm-trainer",
        RUN: run,
        ATTEMPT: str(attempt),
    }
    arguments = _arguments(run, attempt, ranks // nodes, nodes, settings)
    pod = _pod(arguments, ranks // nodes, labels, settings, template)
    job = {
        "completionMode": "Indexed",  # gives each pod its number, as JOB_COMPLETION_INDEX and in its host name
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,  # one pod that fails is the end of all: the others cannot go on without it
        "podReplacementPolicy": "Failed",  # the only value beside a podFailurePolicy
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": pod,
    }
    spec: dict[str, Any] = {
        # The headless service has the JobSet's name; pods must find each other before they are ready.
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        "failurePolicy": {
            "maxRestarts": settings.restarts,
            # What would fail again is not tried again.
            "rules": [{"name": "final", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
        },
        "replicatedJobs": [{"name": _GROUP, "replicas": 1, "template": {"spec": job}}],
    }
    if settings.queue:
        labels = {**labels, _QUEUE: settings.queue}
        spec["suspend"] = True  # Kueue's to lift
    meta = {"name": name, "labels": labels}
    return {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": meta, "spec": spec}


def _arguments(run: str, attempt: int, ranks: int, nodes: int, settings: KubernetesSettings) -> list[str]:
    """Of the image's entry point. A pod's number comes from JOB_COMPLETION_INDEX."""
    name = jobset_name(run)
    first = f"{name}-{_GROUP}-0-0.{name}:{settings.port}"
    return [
        *("python", "-m", "synfarm_trainer.launch", "--run-id", run, "--attempt", str(attempt), "--new-attempt"),
        *("--state-dir", _STATE, "--ranks", str(ranks), "--nodes", str(nodes)),
        *("--endpoint", first if nodes > 1 else "localhost:0", "--join-seconds", str(settings.join_seconds)),
        *("--grace", str(settings.grace_seconds - 5), "--message", "/dev/termination-log"),
    ]


def _failure_rules() -> list[dict[str, Any]]:
    """The first that fits counts; what fits none fails the Job by its backoffLimit."""

    def codes(action: str, of: Sequence[ExitCode]) -> dict[str, Any]:
        # Values must be in ascending order.
        on = {"containerName": CONTAINER, "operator": "In", "values": sorted(int(code) for code in of)}
        return {"action": action, "onExitCodes": on}

    evicted = {"type": "DisruptionTarget", "status": "True"}
    return [
        codes("FailJob", (*FINAL, ExitCode.FENCED)),
        codes("Ignore", NOT_COUNTED),  # replaced, and not counted: the cluster itself asked the pod to leave
        {"action": "Ignore", "onPodConditions": [evicted]},
    ]


def _pod(
    arguments: list[str],
    ranks: int,
    labels: Mapping[str, str],
    settings: KubernetesSettings,
    template: Mapping[str, Any],
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": settings.image,
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "state", "mountPath": _STATE}],
    }
    if settings.gpus_per_rank:
        container["resources"] = {"limits": {settings.gpu_resource: ranks * settings.gpus_per_rank}}
    if settings.secret:
        container["envFrom"] = [{"secretRef": {"name": settings.secret}}]
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,  # ranks ask nothing of the cluster
        "containers": [container],
        "volumes": [
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
            {"name": "state", "emptyDir": {}},
        ],
    }
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    pod: dict[str, Any] = _laid_over({"metadata": {"labels": dict(labels)}, "spec": spec}, template)
    pod["metadata"]["labels"] |= labels
    pod["spec"] |= {
        "restartPolicy": "Never",  # asked for by podFailurePolicy
        "terminationGracePeriodSeconds": settings.grace_seconds,
    }
    ours = next(item for item in pod["spec"]["containers"] if item["name"] == CONTAINER)
    # Reason and detail come back in the pod's status; the end of the log does where they are missing.
    ours |= {"args": arguments, "terminationMessagePolicy": "FallbackToLogsOnError"}
    return pod


def _laid_over(ours: Any, theirs: Any) -> Any:
    """Mappings field by field, lists of named things name by name; whatever else is theirs."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return {
            key: _laid_over(ours[key], theirs[key]) if key in ours and key in theirs else {**ours, **theirs}[key]
            for key in {**ours, **theirs}
        }
    if isinstance(ours, list) and isinstance(theirs, list):
        named = {item["name"]: item for item in ours if isinstance(item, Mapping) and "name" in item}
        if len(named) == len(ours) and all(isinstance(item, Mapping) and "name" in item for item in theirs):
            for item in theirs:
                named[item["name"]] = _laid_over(named.get(item["name"], {}), item)
            return list(named.values())
        return [*ours, *theirs]
    return theirs
