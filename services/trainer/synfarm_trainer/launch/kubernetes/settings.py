"""Settings of the Kubernetes launcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["KubernetesSettings"]

_MOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account's token, the API server's CA and its own namespace."""


class KubernetesSettings(BaseSettings):
    """``SYNFARM_TRAINER_KUBERNETES_*``."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_TRAINER_KUBERNETES_", frozen=True, hide_input_in_errors=True)

    image: str = Field(min_length=1)
    """Of the ranks: this service's own."""
    url: str = ""
    """Of the API server; empty: as a pod is told of it (KUBERNETES_SERVICE_HOST and _PORT)."""
    token_file: Path = _MOUNT / "token"
    """Read anew for each request, for it is exchanged every hour."""
    ca_file: Path = _MOUNT / "ca.crt"
    namespace: str = ""
    """Where the JobSets are made; empty: this pod's own."""
    namespace_file: Path = _MOUNT / "namespace"
    runs: int = Field(default=16, ge=1, le=256)
    """Runs at a time; beyond them they wait in this service, within them in the cluster."""
    ranks_per_node: int = Field(default=8, ge=1)
    """Ranks of one pod, at most; a pod takes a whole machine's GPUs."""
    gpus_per_rank: int = Field(default=1, ge=0, le=1)
    """0 for clusters without GPUs."""
    gpu_resource: str = "nvidia.com/gpu"
    shared_memory: str = "16Gi"
    """Size of ``/dev/shm``: NCCL's ranks of one machine exchange through it."""
    secret: str = ""
    """Name of a Secret whose keys become the ranks' environment: SYNFARM_STORE_ENDPOINT, _ACCESS_KEY, …"""
    service_account: str = ""
    """Of the ranks' pods, which need no rights in the cluster."""
    template: Path | None = None
    """A pod template (YAML or JSON: ``metadata``, ``spec``) whose fields are laid over ours; its container ``trainer``
    is the ranks'."""
    queue: str = ""
    """Kueue's local queue; JobSets then begin suspended."""
    restarts: int = Field(default=0, ge=0)
    """``failurePolicy.maxRestarts``: restarts of a JobSet that no service sees. 0: the service restarts and counts."""
    grace_seconds: int = Field(default=60, ge=5)
    """From SIGTERM to SIGKILL of a pod; its ranks have 5 s less to save."""
    join_seconds: int = Field(default=600, ge=10)
    """How long a pod that runs waits for the others."""
    port: int = Field(default=29500, ge=1, le=65535)
    """At which pods meet, on the first."""
    poll_seconds: float = Field(default=5.0, gt=0)
    """Between two looks at a JobSet."""

    def pod_template(self) -> dict[str, Any]:
        """
        Raises:
            OSError: the file cannot be read.
            ValueError: it is no mapping with ``metadata`` or ``spec``.
        """
        if self.template is None:
            return {}
        found = yaml.safe_load(self.template.read_text())
        if not isinstance(found, dict) or not found.keys() <= {"metadata", "spec"}:
            fault = "must be a mapping of metadata and spec, as below `template:` of a Deployment"
            raise ValueError(f"SYNFARM_TRAINER_KUBERNETES_TEMPLATE: {self.template} {fault}")
        return found
