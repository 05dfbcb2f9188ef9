"""Each check is silent about the example, and tells what is wrong once it is broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.k8s import told
from tests.k8s.broken import BROKEN
from tests.k8s.broken_jobs import BROKEN_JOBS
from tests.k8s.broken_machines import BROKEN_MACHINES
from tests.k8s.changing import Farm
from tests.k8s.checking import ALL
from tests.k8s.manifests import Manifests, named
from tests.k8s.runs import with_runs

ROWS = [*BROKEN, *BROKEN_JOBS, *BROKEN_MACHINES]
CHECKS = {check.__name__: check for check in ALL}


@pytest.fixture(autouse=True)
def _page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user of the example is told to make."""
    (tmp_path / "README.md").write_text(
        "    kubectl -n farm create secret generic store-render --from-literal=SYNFARM_STORE_ACCESS_KEY=… \\\n"
        "      --from-literal=SYNFARM_STORE_SECRET_KEY=…\n"
        "    kubectl -n farm create secret generic store-trainer --from-literal=SYNFARM_STORE_ACCESS_KEY=… \\\n"
        "      --from-literal=SYNFARM_STORE_SECRET_KEY=…\n"
        "    kubectl -n farm create secret generic store-admin --from-literal=SYNFARM_STORE_ACCESS_KEY=… \\\n"
        "      --from-literal=SYNFARM_STORE_SECRET_KEY=…\n"
        "    kubectl -n farm create secret generic store-sweep --from-literal=SYNFARM_STORE_ACCESS_KEY=… \\\n"
        "      --from-literal=SYNFARM_STORE_SECRET_KEY=…\n"
        "    kubectl -n farm create secret generic redis --from-literal=SYNFARM_REDIS_URL=redis://:…@store:9000/0\n"
        "    kubectl -n farm create secret generic keys --from-file=keys.json=keys.json\n"
    )
    monkeypatch.setattr(told, "_PAGES", (tmp_path / "README.md",))


def broken(example: list[dict[str, Any]], change: Callable[[Farm], Any]) -> Manifests:
    farm = {named(thing): thing for thing in example}
    change(farm)
    return with_runs(Manifests(farm.values()))


@pytest.mark.parametrize(("check", "change", "told"), ROWS, ids=[f"{row[0]}-{i}" for i, row in enumerate(ROWS)])
def test_told(example: list[dict[str, Any]], check: str, change: Callable[[Farm], Any], told: str) -> None:
    found = list(CHECKS[check](broken(example, change)))
    assert any(re.search(told, sentence) for sentence in found), found


@pytest.mark.parametrize("check", CHECKS)
def test_silent_about_what_is_right(example: list[dict[str, Any]], check: str) -> None:
    assert list(CHECKS[check](broken(example, lambda farm: None))) == []


def test_every_check_has_something_that_it_tells() -> None:
    assert {row[0] for row in ROWS} == set(CHECKS)
