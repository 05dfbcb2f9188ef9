"""What ships: every package with all its files, exact versions, and contracts that load pydantic alone."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("synfarm", "synfarm_caption_api", "synfarm_render_worker", "synfarm_trainer", "synfarm_llm_server")


@pytest.mark.integration
def test_wheel_holds_every_package_and_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        shipped = set(archive.namelist())
    for package in PACKAGES:
        assert f"{package}/py.typed" in shipped
    listed = subprocess.run(
        ["git", "ls-files", "src", "services"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    for path in listed:
        inside = re.fullmatch(r"(?:src|services/[^/]+)/(synfarm.*)", path)
        if inside:
            assert inside.group(1) in shipped, f"{path} is missing from the wheel"
    assert not [name for name in shipped if name.startswith("tests/")]


def test_versions_are_exact_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    for line in pins:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[A-Za-z0-9.!+]+", line), line
    assert pins == sorted(pins, key=lambda pin: pin.partition("==")[0])
    assert not re.search(r"://|@", "\n".join(lines))


def test_every_named_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(d for group in project["optional-dependencies"].values() for d in group)]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    names = {re.split(r"[^A-Za-z0-9._-]", name)[0].lower().replace("_", "-") for name in named}
    assert names - {"synfarm"} <= pinned, "run `make constraints`"


def loaded_by(code: str) -> set[str]:
    """Top-level packages outside the standard library that a fresh interpreter holds after ``code``."""
    tell = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{tell}"], check=True, capture_output=True, text=True)
    names = {name for name in json.loads(done.stdout) if not name.startswith("_sysconfigdata")}
    return names - sys.stdlib_module_names


def dependencies(name: str) -> set[str]:
    """Import names of a distribution and all that it requires."""
    distributions = importlib.metadata.packages_distributions()
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        found |= {module for module, owners in distributions.items() if current in owners}
        for line in importlib.metadata.requires(current) or []:
            required = re.split(r"[^A-Za-z0-9._-]", line)[0].replace("-", "_")
            if "extra ==" not in line and required not in found:
                waiting.append(required)
                found.add(required)
    return found


def test_contracts_load_pydantic_and_nothing_else() -> None:
    import_all = (
        "import importlib, pkgutil, synfarm.contracts as c\n"
        "for m in pkgutil.walk_packages(c.__path__, 'synfarm.contracts.'): importlib.import_module(m.name)"
    )
    # What a bare interpreter loads (path files of editable installs) is not the contracts' doing.
    extra = loaded_by(import_all) - loaded_by("pass")
    assert "pydantic" in extra
    assert extra - dependencies("pydantic") == {"synfarm"}
