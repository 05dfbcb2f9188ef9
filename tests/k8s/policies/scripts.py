"""Shell that stands in manifests is looked at like that in files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.k8s.manifests import Manifests, Object

_SHELLS = {"sh", "bash", "dash", "ash"}


def sound_scripts(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads:
        for container in workload.containers:
            for shell, script in _scripts(container):
                for fault in _faults(shell, script):
                    yield f"{workload.name}: {container['name']}: {fault}"


def _scripts(container: Object) -> Iterator[tuple[str, str]]:
    """Of its command and arguments, its probes and hooks: (shell, script)."""
    hooks = (container.get("lifecycle") or {}).values()
    probes = [container.get(name) or {} for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    commands = [(each.get("exec") or {}).get("command") or [] for each in (*hooks, *probes)]
    for words in ([*container.get("command", []), *container.get("args", [])], *commands):
        shell = words[0].rpartition("/")[2] if words else ""
        if shell in _SHELLS and len(words) > 2 and words[1].startswith("-") and words[1].endswith("c"):
            yield shell, words[2]


@cache
def _faults(shell: str, script: str) -> tuple[str, ...]:
    tool = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if tool is None:
        return ("there is no shellcheck to look at its script; run make setup",)
    dialect = "bash" if shell == "bash" else "sh"
    command = [tool, "--shell", dialect, "--format", "gcc", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, timeout=60)
    return tuple(f"its script: {line.partition(':')[2]}" for line in done.stdout.splitlines())
