"""Each extra alone is enough for its own package, and brings nothing heavy that it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "timm", "accelerate"}

# What of the shared package needs more than the base: every extra says which of these parts it serves.
BASE_WITHOUT = (
    "synfarm.queue",
    "synfarm.web",
    "synfarm.local",
    "synfarm.report",
    "synfarm.housekeeping.verification",
    "synfarm.importing",
)
PARTS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "": (None, BASE_WITHOUT),
    "local": (None, ("synfarm.queue", "synfarm.web")),
    "caption-api": (
        "synfarm_caption_api",
        ("synfarm.report", "synfarm.housekeeping.verification", "synfarm.importing"),
    ),
    "render-worker": (
        "synfarm_render_worker",
        (
            "synfarm.web",
            "synfarm.report",
            "synfarm_render_worker.diffusers_renderer",
            "synfarm_render_worker.diffusion",
            "synfarm_render_worker.scoring.clip",
            "synfarm_render_worker.scoring.safety",
        ),
    ),
    "render-worker,diffusers": ("synfarm_render_worker", ("synfarm.web", "synfarm.report")),
    "trainer": ("synfarm_trainer", ("synfarm.queue", "synfarm.report")),
    "llm-server": (
        "synfarm_llm_server",
        ("synfarm.queue", "synfarm.report", "synfarm.housekeeping.verification", "synfarm.importing"),
    ),
    "all": (None, ()),
}

IMPORT_ALL = """
import importlib, json, pkgutil
packages, without = {arguments}
done = []
for package in packages:
    found = [package]
    root = importlib.import_module(package)
    found += [m.name for m in pkgutil.walk_packages(root.__path__, package + ".")]
    for name in found:
        if name.rpartition(".")[2] == "__main__" or any(name == w or name.startswith(w + ".") for w in without):
            continue
        importlib.import_module(name)
        done.append(name)
if "synfarm.queue" not in without:  # kombu loads its transport when it first connects
    importlib.import_module("kombu.transport").get_transport_cls("redis")
print(json.dumps(done))
"""


@dataclass(frozen=True)
class FreshEnvironment:
    """A venv that holds the wheel and one extra."""

    python: Path

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        # -I: nothing of the checkout is on the path. -W error: an import that warns fails.
        command = [str(self.python), "-I", "-c", code]
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=self.python.parent)

    def installed(self) -> set[str]:
        code = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
        return {name.lower().replace("_", "-") for name in json.loads(self.run(code).stdout)}


@pytest.fixture(scope="session")
def fresh(
    wheel: Path, pip: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], FreshEnvironment]:
    """Make an environment for an extra ('' for none) with the pinned versions."""

    def make(extra: str) -> FreshEnvironment:
        folder = tmp_path_factory.mktemp(f"venv-{extra or 'base'}")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
        python = folder / "bin" / "python"
        wanted = f"{wheel}[{extra}]" if extra else str(wheel)
        pip("--python", python, "install", "--quiet", "--no-compile", "-c", ROOT / "constraints.txt", wanted)
        return FreshEnvironment(python)

    return make


def imports_everything(environment: FreshEnvironment, extra: str) -> list[str]:
    service, without = PARTS[extra]
    if extra != "all":  # an extra of its own, beside any of these
        without = (*without, "synfarm.tracing.otel")
    packages = ["synfarm", *([service] if service else [])]
    if extra == "all":
        packages += [name for name, _ in PARTS.values() if name]
    done = environment.run(IMPORT_ALL.format(arguments=repr((packages, without))))
    assert done.returncode == 0, f"extra {extra!r}: {done.stderr[-3000:]}"
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("extra", ["", "local", "caption-api", "render-worker"])
def test_torch_free_extras(fresh: Callable[[str], FreshEnvironment], extra: str) -> None:
    environment = fresh(extra)
    assert not HEAVY & environment.installed()
    assert "synfarm.contracts.layout" in imports_everything(environment, extra)


@pytest.mark.extras
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("extra", ["render-worker,diffusers", "trainer", "llm-server", "all"])
def test_extras_with_torch(fresh: Callable[[str], FreshEnvironment], extra: str) -> None:
    assert "synfarm.contracts.layout" in imports_everything(fresh(extra), extra)
