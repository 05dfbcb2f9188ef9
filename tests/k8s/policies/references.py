"""Whatever is named is there, or is the user's to make and a page says how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.k8s.manifests import Manifests, Object, Workload, module_of, named
from tests.k8s.told import made_by_user


class Named(NamedTuple):
    """A reference: who names what, and the key that is wanted of it."""

    user: str
    kind: str
    name: str
    key: str | None = None


def named_things_exist(manifests: Manifests) -> Iterator[str]:
    made = made_by_user()
    for reference in references(manifests):
        thing = manifests.find(reference.kind, reference.name)
        if thing is not None:
            keys = {**(thing.get("data") or {}), **(thing.get("stringData") or {})}
            if reference.kind == "ConfigMap" and not keys:
                yield f"{reference.user}: {reference.kind} {reference.name} is empty"
            if reference.key is not None and reference.key not in keys:
                yield f"{reference.user}: {reference.kind} {reference.name} has no {reference.key}"
        elif (reference.kind, reference.name) not in made:
            yield f"{reference.user}: {reference.kind} {reference.name} is not there, and no page tells to make it"
        elif reference.key is not None and reference.key not in made[reference.kind, reference.name]:
            yield f"{reference.user}: no page puts {reference.key} into {reference.kind} {reference.name}"


def nothing_is_left_over(manifests: Manifests) -> Iterator[str]:
    """What nothing names is a mistake in a name, or litter."""
    used = {(reference.kind, reference.name) for reference in references(manifests)}
    for thing in manifests.of(
        *("ConfigMap", "Secret", "ServiceAccount", "PersistentVolumeClaim", "TriggerAuthentication", "PriorityClass")
    ):
        if (thing["kind"], thing["metadata"]["name"]) not in used:
            yield f"{named(thing)}: nothing uses it"


def own_credentials(manifests: Manifests) -> Iterator[str]:
    """A store credential is one role's: what one process may do, another may not. A run has its trainer's.

    Who makes buckets and roles, and the store itself, has the administrator's, which no process of the farm has.
    """
    keys = {name for (kind, name), held in made_by_user().items() if "SYNFARM_STORE_ACCESS_KEY" in held}
    users: dict[str, set[str]] = {}
    for workload in manifests.workloads:
        modules = {module_of(container) for container in workload.mains}
        for name in {each.name for each in _of_pod(workload) if each.kind == "Secret"} & keys:
            if "synfarm.storage" in modules:
                users.setdefault(name, set()).add("the administrator")
            elif modules != {None} and workload.kind != "JobSet":
                users.setdefault(name, set()).add(workload.name)
    for name, among in sorted(users.items()):
        if len(among) > 1:
            yield f"Secret/{name}: is shared by {' and '.join(sorted(among))}"


def own_accounts(manifests: Manifests) -> Iterator[str]:
    """Each workload has an account, whose token is mounted only where the cluster is asked for something."""
    for workload in manifests.workloads:
        if workload.pod.get("serviceAccountName", "default") == "default":
            yield f"{workload.name}: runs as the namespace's default account"
        account = manifests.find("ServiceAccount", workload.pod.get("serviceAccountName", "")) or {}
        mounted = workload.pod.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
        if mounted != asks_cluster(manifests, workload):
            yield f"{workload.name}: its account's token is {'' if mounted else 'not '}mounted"


def asks_cluster(manifests: Manifests, workload: Workload) -> bool:
    """Whether its process talks to the API server: the trainer with the launcher for clusters does."""
    return any(
        module_of(container) == "synfarm_trainer"
        and manifests.environment(container).get("SYNFARM_TRAINER_LAUNCHER") == "kubernetes"
        for container in workload.mains
    )


def references(manifests: Manifests) -> Iterator[Named]:
    for workload in manifests.workloads:
        yield from _of_pod(workload)
        for container in workload.mains:
            yield from _of_launcher(manifests, workload, container)
    for binding in manifests.of("RoleBinding"):
        yield Named(named(binding), binding["roleRef"]["kind"], binding["roleRef"]["name"])
        yield from (Named(named(binding), subject["kind"], subject["name"]) for subject in binding["subjects"])
    for queue in manifests.of("LocalQueue"):
        yield Named(named(queue), "ClusterQueue", queue["spec"]["clusterQueue"])
    for queue in manifests.of("ClusterQueue"):
        for group in queue["spec"].get("resourceGroups", []):
            yield from (Named(named(queue), "ResourceFlavor", flavor["name"]) for flavor in group["flavors"])
    for scaled in manifests.of("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            if reference := trigger.get("authenticationRef"):
                yield Named(named(scaled), reference.get("kind", "TriggerAuthentication"), reference["name"])
    for auth in manifests.of("TriggerAuthentication"):
        for target in auth["spec"].get("secretTargetRef", []):
            yield Named(named(auth), "Secret", target["name"], target["key"])


def _of_pod(workload: Workload) -> Iterator[Named]:
    yield Named(workload.name, "ServiceAccount", workload.pod.get("serviceAccountName", "default"))
    if priority := workload.pod.get("priorityClassName"):
        yield Named(workload.name, "PriorityClass", priority)
    claimed = {claim["metadata"]["name"] for claim in workload.thing["spec"].get("volumeClaimTemplates", [])}
    volumes = {volume["name"] for volume in workload.pod.get("volumes", [])}
    for container in workload.containers:
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in claimed | volumes:
                yield Named(workload.name, "volume", mount["name"])
        for source in container.get("envFrom", []):
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source:
                    yield Named(workload.name, kind, source[field]["name"])
        for variable in container.get("env", []):
            given = variable.get("valueFrom") or {}
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if field in given and not given[field].get("optional"):
                    yield Named(workload.name, kind, given[field]["name"], given[field]["key"])
    for volume in workload.pod.get("volumes", []):
        for source in (volume, *(volume.get("projected") or {}).get("sources", [])):
            yield from _of_volume(workload, source)


def _of_volume(workload: Workload, source: Object) -> Iterator[Named]:
    for field, kind, name in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        if field in source:
            body = source[field]
            if body.get("optional"):
                continue
            thing = body.get(name) or body["name"]
            yield Named(workload.name, kind, thing)
            yield from (Named(workload.name, kind, thing, item["key"]) for item in body.get("items", []))
    if "persistentVolumeClaim" in source:
        yield Named(workload.name, "PersistentVolumeClaim", source["persistentVolumeClaim"]["claimName"])


def _of_launcher(manifests: Manifests, workload: Workload, container: Object) -> Iterator[Named]:
    """What the trainer's settings name for the pods of its runs."""
    given = manifests.environment(container)
    for variable, kind in (
        ("SYNFARM_TRAINER_KUBERNETES_SECRET", "Secret"),
        ("SYNFARM_TRAINER_KUBERNETES_SERVICE_ACCOUNT", "ServiceAccount"),
        ("SYNFARM_TRAINER_KUBERNETES_QUEUE", "LocalQueue"),
    ):
        if name := given.get(variable):
            yield Named(workload.name, kind, name)
