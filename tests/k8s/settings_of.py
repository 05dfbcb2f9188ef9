"""Names of the settings that each process reads, from the source of its settings classes: nothing heavy is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.k8s.manifests import REPO

_OF_A_USER = {"sdk", "cli", "local", "report"}
"""Packages of ``synfarm`` that no service runs."""


class Setting(NamedTuple):
    variable: str
    secret: bool


@cache
def settings_of(package: str) -> dict[str, Setting]:
    """By the variable's name: those of a service's package, or of ``synfarm`` itself.

    Args:
        package: ``synfarm_caption_api`` or another service's, ``synfarm``.
    """
    folder = next(REPO.glob(f"services/*/{package}"), REPO / "src" / package)
    found = {}
    for path in sorted(folder.rglob("*.py")):
        if package == "synfarm" and path.relative_to(folder).parts[0] in _OF_A_USER:
            continue
        text = path.read_text()
        if "BaseSettings" in text:
            found.update({setting.variable: setting for setting in _settings(ast.parse(text))})
    assert found, f"{package} has no settings: were its classes moved?"
    return found


def known_to(module: str) -> set[str]:
    """Variables that the process ``python -m module`` may be given."""
    package = module.partition(".")[0]
    return {*settings_of("synfarm"), *(settings_of(package) if package != "synfarm" else ())}


def _settings(tree: ast.Module) -> Iterator[Setting]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or "BaseSettings" not in {ast.unparse(base) for base in node.bases}:
            continue
        prefix = ""
        for statement in node.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "model_config":
                assert isinstance(statement.value, ast.Call)
                given = {word.arg: word.value for word in statement.value.keywords}
                prefix = ast.literal_eval(given["env_prefix"])
            elif isinstance(statement, ast.AnnAssign):
                kind = ast.unparse(statement.annotation)
                yield Setting((prefix + ast.unparse(statement.target)).upper(), "SecretStr" in kind)


def _services() -> list[str]:
    return sorted(path.name for path in Path(REPO).glob("services/*/synfarm_*"))


SECRETS = {
    setting.variable
    for package in ("synfarm", *_services())
    for setting in settings_of(package).values()
    if setting.secret
}
"""Variables whose fields are ``SecretStr``."""
