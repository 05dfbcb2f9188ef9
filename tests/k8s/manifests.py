"""What ``kubectl kustomize`` builds of k8s/, as objects that checks can ask about each other."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[2]
K8S = REPO / "k8s"
Object = dict[str, Any]

_MODULES = {
    "caption-api": "synfarm_caption_api",
    "render-worker": "synfarm_render_worker",
    "render-worker-gpu": "synfarm_render_worker",
    "trainer": "synfarm_trainer",
    "llm-server": "synfarm_llm_server",
}
"""What each of our images runs when no arguments are given (CMD of its Dockerfile)."""


def named(thing: Object) -> str:
    return f"{thing['kind']}/{thing['metadata']['name']}"


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """metav1.LabelSelector: an empty one selects everything."""
    wanted = dict(selector.get("matchLabels") or {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for rule in selector.get("matchExpressions") or []:
        has, values = rule["key"] in labels, rule.get("values") or []
        held = {
            "In": labels.get(rule["key"]) in values,
            "NotIn": labels.get(rule["key"]) not in values,
            "Exists": has,
            "DoesNotExist": not has,
        }[rule["operator"]]
        if not held:
            return False
    return True


def selects_all(selector: Mapping[str, Any] | None) -> bool:
    """However that is written."""
    return not (selector or {}).get("matchLabels") and not (selector or {}).get("matchExpressions")


@dataclass(frozen=True)
class Workload:
    """One thing that makes pods."""

    thing: Object
    template: Object
    """``metadata`` and ``spec`` of its pods."""

    @property
    def name(self) -> str:
        return named(self.thing)

    @property
    def kind(self) -> str:
        return str(self.thing["kind"])

    @property
    def stays(self) -> bool:
        """Whether its pods are to run for ever."""
        return self.kind in {"Deployment", "StatefulSet", "DaemonSet"}

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.template.get("metadata", {}).get("labels", {})
        return found

    @property
    def pod(self) -> Object:
        found: Object = self.template["spec"]
        return found

    @property
    def mains(self) -> list[Object]:
        return list(self.pod["containers"])

    @property
    def containers(self) -> list[Object]:
        return [*self.pod.get("initContainers", []), *self.mains]

    @property
    def ports(self) -> dict[str, int]:
        """Of its pods, by name; a port without a name by its number."""
        all_ports = [port for container in self.mains for port in container.get("ports", [])]
        return {port.get("name", str(port["containerPort"])): port["containerPort"] for port in all_ports}


class Manifests:
    """The objects of one build."""

    def __init__(self, things: Iterable[Object]) -> None:
        self.things = list(things)

    def of(self, *kinds: str) -> list[Object]:
        return [thing for thing in self.things if thing["kind"] in kinds]

    def find(self, kind: str, name: str) -> Object | None:
        return next((thing for thing in self.of(kind) if thing["metadata"]["name"] == name), None)

    @cached_property
    def workloads(self) -> list[Workload]:
        return list(_workloads(self.things))

    def environment(self, container: Object) -> dict[str, str | None]:
        """What a container's process finds; None stands for a value that is not in the manifests."""
        found: dict[str, str | None] = {}
        for source in container.get("envFrom", []):
            config = self.find("ConfigMap", source.get("configMapRef", {}).get("name", ""))
            prefix = source.get("prefix", "")
            found |= {prefix + key: value for key, value in ((config or {}).get("data") or {}).items()}
        for variable in container.get("env", []):
            found[variable["name"]] = self._value(variable)
        return found

    def _value(self, variable: Object) -> str | None:
        reference = (variable.get("valueFrom") or {}).get("configMapKeyRef")
        if reference is not None:
            config = self.find("ConfigMap", reference["name"]) or {}
            value: str | None = (config.get("data") or {}).get(reference["key"])
            return value
        return None if "valueFrom" in variable else str(variable.get("value", ""))


def module_of(container: Object) -> str | None:
    """The Python module of ours that a container runs, None for images of others."""
    words = [*container.get("command", []), *container.get("args", [])]
    if "-m" in words:
        return str(words[words.index("-m") + 1])
    return _MODULES.get(image_name(container["image"]))


def image_name(image: str) -> str:
    """The last part of an image's path, without tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _workloads(things: Iterable[Object]) -> Iterator[Workload]:
    for thing in things:
        spec = thing.get("spec", {})
        if thing["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}:
            yield Workload(thing, spec["template"])
        elif thing["kind"] == "CronJob":
            yield Workload(thing, spec["jobTemplate"]["spec"]["template"])
        elif thing["kind"] == "JobSet":
            for job in spec["replicatedJobs"]:
                yield Workload(thing, job["template"]["spec"]["template"])


# -- building ----------------------------------------------------------------------------------------------------------


def kubectl() -> str | None:
    return shutil.which("kubectl")


def build(folder: Path, anywhere: bool = False) -> Manifests:
    """
    Args:
        anywhere: its kustomization may name single files elsewhere, which `kubectl apply -k` refuses.

    Raises:
        ValueError: kustomize refuses the folder; its own words.
    """
    tool = kubectl()
    assert tool is not None
    command = [tool, "kustomize", str(folder)]
    if anywhere:
        command += ["--load-restrictor", "LoadRestrictionsNone"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ))
    if done.returncode or done.stderr.strip():
        # What kustomize warns of (fields that will go) is a fault here.
        raise ValueError(f"{folder}: {done.stderr.strip()}")
    return Manifests(thing for thing in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if thing)


def overlays() -> list[str]:
    return sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))


def components() -> list[str]:
    return sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))


def base_with(folder: Path, component: str, *more: Path, base: Path = K8S / "base") -> Path:
    """A kustomization in ``folder`` of a base, a component and more files. Its paths are relative, as it must be."""
    text = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(path, folder) for path in (base, *more)],
        "components": [os.path.relpath(K8S / "components" / component, folder)],
        "images": [{"name": "synfarm/llm-server", "newTag": "dev"}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return folder
