"""Pods that a namespace with the *restricted* Pod Security Standard takes, and a root that nobody writes to.

Source of the rules: ``content/en/docs/concepts/security/pod-security-standards.md`` of kubernetes/website.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.manifests import Manifests, Object, Workload

_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
}


def restricted_pods(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads:
        for fault in _pod(workload.pod):
            yield f"{workload.name}: {fault}"
        for container in workload.containers:
            for fault in _container(workload, container):
                yield f"{workload.name}: {container['name']}: {fault}"


def read_only_roots(manifests: Manifests) -> Iterator[str]:
    """Ours, not the standard's: what is written goes to volumes that are named."""
    for workload in manifests.workloads:
        for container in workload.containers:
            if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
                yield f"{workload.name}: {container['name']}: readOnlyRootFilesystem is not true"


def _pod(pod: Object) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is set"
    for volume in pod.get("volumes", []):
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is a {kind}"


def _container(workload: Workload, container: Object) -> Iterator[str]:
    of_pod, own = workload.pod.get("securityContext", {}), container.get("securityContext", {})
    both = {**of_pod, **own}
    if both.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    # Ours, not the standard's: an image that names no user, or names it by a word, would not start.
    if not both.get("runAsUser"):
        yield "runAsUser is not given, or 0, which is root"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile is not RuntimeDefault"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield "privileged is set"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities do not drop ALL"
    for more in set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"capabilities add {more}"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']} is set"
