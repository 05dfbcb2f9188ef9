"""What processes write has a place, and what they read is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath

from tests.k8s.manifests import REPO, Manifests, Object, Workload, module_of, named
from tests.k8s.told import made_by_user

_SERVICES = {
    "synfarm_caption_api": "caption_api",
    "synfarm_render_worker": "render_worker",
    "synfarm_trainer": "trainer",
    "synfarm_llm_server": "llm_server",
}
_WRITTEN = {
    "synfarm_render_worker": ("XDG_CACHE_HOME",),
    "synfarm_llm_server": ("XDG_CACHE_HOME",),
    "synfarm_trainer": ("XDG_CACHE_HOME", "SYNFARM_TRAINER_STATE_DIR"),
    "synfarm_trainer.launch": ("XDG_CACHE_HOME",),
}
"""Variables that name the folders a process writes to, beside /tmp."""


def bounded_scratch(manifests: Manifests) -> Iterator[str]:
    """An emptyDir without a limit fills its node's disk, and takes every pod there down with it."""
    for workload in manifests.workloads:
        for volume in workload.pod.get("volumes", []):
            # A volume that says nothing but its name is an emptyDir.
            if volume.keys() == {"name"} or ("emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {})):
                yield f"{workload.name}: volume {volume['name']}: its emptyDir has no sizeLimit"
        shared = {
            mount["name"] for each in workload.mains for mount in _mounts(each) if mount["mountPath"] == "/dev/shm"
        }
        for volume in workload.pod.get("volumes", []):
            if volume["name"] in shared and (volume.get("emptyDir") or {}).get("medium") != "Memory":
                yield f"{workload.name}: volume {volume['name']}: /dev/shm is no memory"


def claims_hold(manifests: Manifests) -> Iterator[str]:
    """A claim says how much it wants; its pods may write to it, and one that only one machine mounts is not asked for
    by a second pod while the first still has it."""
    for thing in manifests.of("PersistentVolumeClaim"):
        yield from (f"{named(thing)}: {fault}" for fault in _claim_faults(thing))
    for workload in manifests.workloads:
        own = workload.thing["spec"].get("volumeClaimTemplates", [])
        yield from (f"{workload.name}: {fault}" for each in own for fault in _claim_faults(each))
        names = [each["persistentVolumeClaim"]["claimName"] for each in _claims(workload)]
        if (own or names) and "fsGroup" not in workload.pod.get("securityContext", {}):
            yield f"{workload.name}: has no fsGroup, so that its volume is root's"
        alone = [name for name in names if _modes(manifests, name) == ["ReadWriteOnce"]]
        if alone and workload.kind == "Deployment" and _strategy(workload) != "Recreate":
            yield f"{workload.name}: a new pod waits for {alone[0]}, which the old one has; use Recreate"


def volumes_mounted(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads:
        mounted = {mount["name"] for each in workload.containers for mount in each.get("volumeMounts", [])}
        names = [each["name"] for each in workload.pod.get("volumes", [])]
        names += [each["metadata"]["name"] for each in workload.thing["spec"].get("volumeClaimTemplates", [])]
        for name in sorted({*names} - mounted):
            yield f"{workload.name}: volume {name} is mounted nowhere"


def writable_places(manifests: Manifests) -> Iterator[str]:
    """Roots are read-only: each folder that a process writes to lies on a volume."""
    for workload in manifests.workloads:
        for container in workload.mains:
            module = module_of(container)
            if module is None:
                continue
            given = manifests.environment(container)
            places = {name: given.get(name) or image_variables(module)[name] for name in _WRITTEN.get(module, ())}
            for name, place in {"temporary files": "/tmp", **places}.items():
                mount = _mount(container, place)
                if mount is None or mount.get("readOnly"):
                    yield f"{workload.name}: cannot write to {place} ({name})"


def files_are_there(manifests: Manifests) -> Iterator[str]:
    """A setting that names a file names one on a volume, under a key that the volume's source has."""
    for workload in manifests.workloads:
        for container in workload.mains:
            for name, value in manifests.environment(container).items():
                if not name.startswith("SYNFARM_") or not (value or "").startswith("/"):
                    continue
                place, mount = PurePosixPath(value or ""), _mount(container, value or "")
                volume: Object = next(
                    (each for each in workload.pod.get("volumes", []) if mount and _is(each, mount)), {}
                )
                keys = _keys(manifests, volume)
                if mount is None:
                    yield f"{workload.name}: {name} names {place}, which is on no volume"
                elif keys is not None and place.name not in keys:
                    yield f"{workload.name}: {name} names {place}, and volume {volume['name']} has no {place.name}"


@cache
def image_variables(module: str) -> dict[str, str]:
    """ENV of the image that runs a module of ours."""
    text = (REPO / "services" / _SERVICES[module.partition(".")[0]] / "Dockerfile").read_text()
    return dict(re.findall(r"(?:ENV| {4}) ?([A-Z_]+)=(\S+)", text))


def _mount(container: Object, path: str) -> Object | None:
    """The mount that a path lies on, the innermost."""
    place = PurePosixPath(path)
    mounts: list[Object] = [each for each in _mounts(container) if place.is_relative_to(each["mountPath"])]
    return max(mounts, key=lambda each: len(each["mountPath"]), default=None)


def _mounts(container: Object) -> list[Object]:
    return list(container.get("volumeMounts", []))


def _is(volume: Object, mount: Object) -> bool:
    return bool(volume["name"] == mount["name"])


def _keys(manifests: Manifests, volume: Object) -> set[str] | None:
    """Files of a volume, None for one that is no Secret and no ConfigMap."""
    if "secret" in volume:
        return set(made_by_user().get(("Secret", volume["secret"]["secretName"]), {}))
    if "configMap" in volume:
        return set((manifests.find("ConfigMap", volume["configMap"]["name"]) or {}).get("data") or {})
    return None


def _claims(workload: Workload) -> list[Object]:
    return [each for each in workload.pod.get("volumes", []) if "persistentVolumeClaim" in each]


def _claim_faults(claim: Object) -> Iterator[str]:
    spec = claim.get("spec", {})
    if not spec.get("accessModes") or "storage" not in spec.get("resources", {}).get("requests", {}):
        yield f"claim {claim['metadata']['name']} does not say how it is mounted, or how much it wants"


def _modes(manifests: Manifests, claim: str) -> list[str]:
    found = manifests.find("PersistentVolumeClaim", claim) or {}
    return list(found.get("spec", {}).get("accessModes", []))


def _strategy(workload: Workload) -> str:
    return str(workload.thing["spec"].get("strategy", {}).get("type", "RollingUpdate"))
