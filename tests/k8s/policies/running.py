"""What a pod asks for, how it is known to live, and how long it may take to end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from pydantic_settings import BaseSettings
from tests.k8s.manifests import Manifests, Object, Workload, module_of

from synfarm_caption_api.settings import WorkerSettings
from synfarm_llm_server.settings import LlmSettings
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_trainer.settings import TrainerSettings

_UNITS: dict[str, Decimal | int] = {
    "": 1,
    "m": Decimal("0.001"),
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_TO_END = 5
"""Seconds between the end of a drain and that of the process."""
_DRAINS: dict[str, tuple[str, type[BaseSettings], str]] = {
    "synfarm_caption_api.worker": ("SYNFARM_CAPTION_WORKER_GRACE_SECONDS", WorkerSettings, "grace_seconds"),
    "synfarm_render_worker": ("SYNFARM_RENDER_GRACE_SECONDS", RenderWorkerSettings, "grace_seconds"),
    "synfarm_llm_server": ("SYNFARM_LLM_GRACE_SECONDS", LlmSettings, "grace_seconds"),
    "synfarm_trainer": ("SYNFARM_TRAINER_SHUTDOWN_GRACE_SECONDS", TrainerSettings, "shutdown_grace_seconds"),
}
"""How long each process takes after SIGTERM, at most."""
_OF_THE_API = 15.0
"""5 s for open event streams (uvicorn's timeout_graceful_shutdown), 10 s for the feeder's pass."""


def amount(quantity: object) -> Decimal:
    """resource.Quantity as a number."""
    number = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(quantity))
    assert number is not None, quantity
    return Decimal(number[1]) * _UNITS[number[2]]


def bounded_resources(manifests: Manifests) -> Iterator[str]:
    """CPU and memory are asked for, memory has an end, and no request is above its limit."""
    for workload in manifests.workloads:
        for container in workload.containers:
            where = f"{workload.name}: {container['name']}"
            resources = container.get("resources") or {}
            requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
            for name in ("cpu", "memory"):
                if name not in requests:
                    yield f"{where}: requests no {name}"
            if "memory" not in limits:
                yield f"{where}: has no limit of memory"
            for name in sorted(requests.keys() & limits.keys()):
                if amount(requests[name]) > amount(limits[name]):
                    yield f"{where}: requests more {name} than its limit"
            # core/v1 validation: a device cannot be shared, so what is asked for is the limit.
            for name in sorted(name for name in {*requests, *limits} if "/" in name):
                if name not in limits or amount(requests.get(name, limits[name])) != amount(limits[name]):
                    yield f"{where}: requests another number of {name} than its limit"


def probed(manifests: Manifests) -> Iterator[str]:
    """Liveness and readiness for what stays, and no death for what is away elsewhere."""
    for workload in manifests.workloads:
        if not workload.stays:
            continue
        for container in workload.mains:
            where = f"{workload.name}: {container['name']}"
            for kind in ("livenessProbe", "readinessProbe"):
                if kind not in container:
                    yield f"{where}: has no {kind}"
            # Models are loaded and caches filled first; liveness must not count before.
            if "startupProbe" not in container:
                yield f"{where}: has no startupProbe"
            # The default of 1 s is missed on a busy machine, and kills what works.
            if container.get("livenessProbe", {}).get("timeoutSeconds", 1) < 5:
                yield f"{where}: its livenessProbe has less than 5 s to be answered"
            # /readyz tells of Redis, store and models too: restarting this pod does not bring them back.
            if "/readyz" in str(container.get("livenessProbe")):
                yield f"{where}: its livenessProbe asks /readyz, so that it is killed when another service is away"
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                yield from (f"{where}: {kind}: {fault}" for fault in _port_faults(workload, container.get(kind)))


def _port_faults(workload: Workload, probe: Object | None) -> Iterator[str]:
    if probe is not None and len(probe.keys() & {"httpGet", "tcpSocket", "grpc", "exec"}) != 1:
        yield "asks nothing"
    if probe is not None and "httpGet" in probe and not probe["httpGet"].get("path"):
        yield "asks the web page, for it names no path"
    for action in ("httpGet", "tcpSocket", "grpc"):
        port = ((probe or {}).get(action) or {}).get("port")
        if port is not None and port not in workload.ports and port not in workload.ports.values():
            yield f"port {port} is none of its container"


def time_to_drain(manifests: Manifests) -> Iterator[str]:
    """The kubelet kills after the grace period, which begins before preStop: a unit would be lost for nothing."""
    for workload in manifests.workloads:
        grace = workload.pod.get("terminationGracePeriodSeconds", 30)
        for container in workload.mains:
            drain = drain_seconds(manifests, container)
            pause = pause_seconds(container)
            if grace < drain + pause + _TO_END:
                whole = f"{drain:g} s of drain, {pause:g} s of preStop and {_TO_END} s to end"
                yield f"{workload.name}: {container['name']}: {grace} s of grace period are less than {whole}"


def drain_seconds(manifests: Manifests, container: Object) -> float:
    module = module_of(container)
    if module == "synfarm_caption_api":
        return _OF_THE_API
    if module not in _DRAINS:
        return 0.0
    name, settings, field = _DRAINS[module]
    given = manifests.environment(container).get(name)
    return float(settings.model_fields[field].default if given is None else given)


def pause_seconds(container: Object) -> float:
    """Of its preStop hook, where that is a plain sleep."""
    hook = (container.get("lifecycle") or {}).get("preStop") or {}
    if "sleep" in hook:
        return float(hook["sleep"]["seconds"])
    words = " ".join((hook.get("exec") or {}).get("command") or [])
    slept = re.search(r"\bsleep[ (]+([0-9.]+)", words)
    return float(slept[1]) if slept else 0.0
