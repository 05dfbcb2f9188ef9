"""Places in the objects of the example, and what is put there to break it."""

from __future__ import annotations

from typing import Any

Farm = dict[str, Any]
"""Objects by kind and name."""


def spec(farm: Farm, name: str) -> Any:
    return farm[name]["spec"]


def pod(farm: Farm, name: str) -> Any:
    return farm[name]["spec"]["template"]["spec"]


def main(farm: Farm, name: str) -> Any:
    return pod(farm, name)["containers"][0]


def drop(thing: Any, *keys: Any) -> None:
    for key in keys:
        del thing[key]


def variable(container: Any, name: str, value: str) -> None:
    container["env"] = [each for each in container["env"] if each["name"] != name] + [{"name": name, "value": value}]


def replace(farm: Farm, name: str, old: str, new: str) -> None:
    data = farm[name]["data"]
    data.update({key: value.replace(old, new) for key, value in data.items()})


def gpu(container: Any, **amounts: str) -> None:
    for kind, number in amounts.items():
        container["resources"][kind].update({"nvidia.com/gpu": number})


def rule(farm: Farm, policy: str) -> Any:
    return spec(farm, f"NetworkPolicy/{policy}")["ingress"][0]


def to_server(farm: Farm) -> Any:
    return spec(farm, "NetworkPolicy/trainer")["egress"][1]["ports"]


def of_keda(farm: Farm) -> Any:
    return spec(farm, "NetworkPolicy/store")["ingress"][1]["from"][1]["namespaceSelector"]


def scaler(farm: Farm) -> Any:
    return spec(farm, "ScaledObject/render")["triggers"][0]["metadata"]


def quotas(farm: Farm) -> Any:
    return spec(farm, "ClusterQueue/gpus")["resourceGroups"][0]["flavors"][0]["resources"]


def whole(secret: str) -> Any:
    return {"secretRef": {"name": secret}}


def sleep(command: str) -> Any:
    return {"preStop": {"exec": {"command": ["sh", "-c", command]}}}


def budget(farm: Farm, rule: dict[str, Any]) -> None:
    spec(farm, "PodDisruptionBudget/store").pop("maxUnavailable")
    spec(farm, "PodDisruptionBudget/store").update(rule)


def secret() -> Any:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}


def bucket(credential: str) -> Any:
    container = {"name": "b", "image": "caption-api:1", "args": ["python", "-m", "synfarm.storage"]}
    pod = {"restartPolicy": "Never", "containers": [{**container, "envFrom": [whole(credential)]}]}
    return {"kind": "Job", "metadata": {"name": "b"}, "spec": {"template": {"spec": pod}}}


def to(selector: Any, *ports: int) -> Any:
    return [{"to": [{"podSelector": selector}], "ports": [{"port": port} for port in ports]}]


def at_shm(farm: Farm) -> None:
    main(farm, "Deployment/render")["volumeMounts"][0].update(mountPath="/dev/shm")


def config(name: str) -> Any:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {}}


def claim(name: str) -> Any:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def of(app: str) -> Any:
    return {"matchLabels": {"app": app}}


def policy(farm: Farm, name: str, app: str, **rules: Any) -> None:
    spec(farm, f"NetworkPolicy/{name}").update(podSelector=of(app), **rules)


def endpoint(farm: Farm, address: str) -> None:
    farm["ConfigMap/settings"]["data"].update(SYNFARM_STORE_ENDPOINT=address)


def from_secret(container: Any, name: str, key: str) -> None:
    container["env"].append({"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}})
