"""Secrets are named in manifests, never told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.k8s.manifests import Manifests, named
from tests.k8s.settings_of import SECRETS

_NAME = re.compile(r"(SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE_KEY)", re.IGNORECASE)
_PLACE = re.compile(r"(_FILE|_PATH|_DIR|_NAME|_URL|_TOKENS|_SECONDS|KUBERNETES_SECRET)$", re.IGNORECASE)
"""Names of places and of sizes, which say nothing."""
_TOLD = {
    "a password in an address": re.compile(r"://[^/\s:@]*:[^/\s@]+@"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}\b"),
    "the password that everyone knows": re.compile(r"minioadmin"),
    "a password as an option": re.compile(r"--?(requirepass|password|secret|token)[ =]+[^\s$-]", re.IGNORECASE),
}


def no_secret_values(manifests: Manifests) -> Iterator[str]:
    for thing in manifests.of("Secret"):
        if thing.get("data") or thing.get("stringData"):
            yield f"{named(thing)}: holds values; whoever reads the repository has them"
    for workload in manifests.workloads:
        for container in workload.containers:
            for variable in container.get("env", []):
                if is_secret(variable["name"]) and _literal(variable):
                    yield f"{workload.name}: {container['name']}: {variable['name']} has its value in the manifest"
    for thing in manifests.of("ConfigMap"):
        for name, value in (thing.get("data") or {}).items():
            if is_secret(name) and value and not _harmless_address(value):
                yield f"{named(thing)}: {name} has its value in the manifest"
    for thing in manifests.things:
        for text in _strings(thing):
            for what, pattern in _TOLD.items():
                if pattern.search(text):
                    yield f"{named(thing)}: holds {what}"


def is_secret(name: str) -> bool:
    """A setting that our classes keep as a secret, or a name that sounds like one of another program's."""
    return name in SECRETS or (_NAME.search(name) is not None and not _PLACE.search(name))


def _literal(variable: dict[str, Any]) -> bool:
    value = str(variable.get("value") or "")
    return bool(value) and "valueFrom" not in variable and not _harmless_address(value)


def _harmless_address(value: str) -> bool:
    """redis://redis:6379/0 is a secret by its type, and holds none while there is no password in it."""
    return re.fullmatch(r"\w+://[^@\s]+", value) is not None


def _strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _strings(value)
    elif isinstance(tree, list):
        # A command's words also as one line, where an option and its value stand side by side.
        if tree and all(isinstance(item, str) for item in tree):
            yield " ".join(tree)
        for value in tree:
            yield from _strings(value)
