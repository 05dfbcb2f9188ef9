"""What the pages about Kubernetes tell a user to make before anything is applied: Secrets, and the keys in each."""

from __future__ import annotations

import re

from tests.k8s.manifests import K8S, REPO, Manifests, Object

_PAGES = (K8S / "README.md", REPO / "docs" / "08-kubernetes.md")
_MADE = re.compile(r"kubectl (?:-n \S+ )?create (secret generic|configmap) (\S+)((?:[^\n]*\\\n)*[^\n]*)")
_KEY = re.compile(r"--from-(?:literal|file)=([A-Za-z0-9_.-]+)=(\"[^\"]*\"|\S+)")


def made_by_user() -> dict[tuple[str, str], dict[str, str]]:
    """(kind, name) to keys with their value as the page writes it, of every ``kubectl create secret``."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for page in _PAGES:
        for kind, name, rest in _MADE.findall(page.read_text() if page.exists() else ""):
            cased = {"secret generic": "Secret", "configmap": "ConfigMap"}[kind]
            keys = {key: value.strip('"') for key, value in _KEY.findall(rest)}
            found.setdefault((cased, name), {}).update(keys)
    return found


def environment(manifests: Manifests, container: Object) -> dict[str, str | None]:
    """What a container's process finds, Secrets included: None but for addresses, of which the page has a pattern."""
    made, found = made_by_user(), manifests.environment(container)
    for source in container.get("envFrom", []):
        keys = made.get(("Secret", source.get("secretRef", {}).get("name", "")), {})
        found |= {key: _address(value) for key, value in keys.items()}
    for variable in container.get("env", []):
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if reference is not None:
            value = made.get(("Secret", reference["name"]), {}).get(reference["key"], "")
            found[variable["name"]] = _address(value)
    return found


def _address(value: str) -> str | None:
    return value if "://" in value else None
