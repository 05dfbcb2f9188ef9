"""What the pages about Kubernetes tell to write and to make is what manifests need."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.k8s.checking import ALL, faults
from tests.k8s.manifests import K8S, REPO, Manifests, build, overlays
from tests.k8s.policies.references import references
from tests.k8s.runs import with_runs
from tests.k8s.schemas import field_faults
from tests.k8s.told import made_by_user

PAGE = REPO / "docs" / "08-kubernetes.md"
OVERLAY = re.compile(r"```yaml\n(apiVersion: kustomize\.config\.k8s\.io/.*?)```", re.DOTALL)


def test_an_overlay_as_the_guide_has_it(built: Callable[[str], Manifests], tmp_path: Path) -> None:
    built("base")  # skips without kubectl
    written = OVERLAY.findall(PAGE.read_text())
    assert written, "the guide shows no overlay"
    for number, text in enumerate(written):
        folder = tmp_path / str(number) / "my-cluster"
        folder.mkdir(parents=True)
        (folder.parent / "synfarm").symlink_to(REPO)
        (folder / "kustomization.yaml").write_text(text)
        found = with_runs(build(folder))
        assert [*field_faults(found), *faults(found, ALL)] == []


def test_secrets_that_the_page_makes_are_those_that_are_asked_for(built: Callable[[str], Manifests]) -> None:
    made = {name for kind, name in made_by_user() if kind == "Secret"}
    wanted: set[str] = set()
    for name in overlays():
        found = with_runs(built(f"overlay {name}"))
        wanted |= {each.name for each in references(found) if each.kind == "Secret"}
    assert wanted <= made
    text = "".join(path.read_text() for path in K8S.rglob("*.yaml"))
    assert {name for name in made - wanted if name not in text} == set(), "nothing asks for these"
