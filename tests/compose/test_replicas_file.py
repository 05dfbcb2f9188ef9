"""docker-compose.replicas.yml: several caption-api behind the port that one had. No Docker is needed."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.compose.merging import filled, stack

from synfarm_caption_api.settings import ApiSettings, LlmSettings

FILES = ("docker-compose.yml", "docker-compose.replicas.yml")


@pytest.fixture(scope="module")
def replicas(root: Path) -> dict[str, Any]:
    services: dict[str, Any] = filled(stack(root, *FILES))
    return services


@pytest.fixture(scope="module")
def haproxy(root: Path) -> str:
    """Its settings, comments out."""
    text = (root / "deploy" / "proxy" / "haproxy.cfg").read_text()
    return "\n".join(line for line in text.splitlines() if not line.strip().startswith("#"))


def seconds(haproxy: str, timeout: str) -> float:
    return float(re.findall(rf"^ +timeout {timeout} +(\d+)s$", haproxy, re.M)[0])


def test_the_proxy_has_the_port_that_the_api_had(root: Path, replicas: dict[str, Any]) -> None:
    assert replicas["proxy"]["ports"] == filled(stack(root, FILES[0]))["caption-api"]["ports"]
    assert "ports" not in replicas["caption-api"]
    assert replicas["caption-api"]["deploy"]["replicas"] == 2
    for name in ("read_only", "cap_drop", "security_opt", "restart", "logging"):
        assert replicas["proxy"][name] == replicas["redis"][name], name


def test_the_proxy_finds_the_replicas_and_reads_the_file_that_is_mounted(root: Path, haproxy: str) -> None:
    mounted = yaml.safe_load(re.sub("!reset", "", (root / FILES[1]).read_text()))
    assert mounted["configs"]["proxy"]["file"] == "./deploy/proxy/haproxy.cfg"
    assert re.search(r"^ +server-template \w+ \d+ caption-api:8000$", haproxy, re.M)
    assert re.search(r"^ +bind :8000$", haproxy, re.M)
    # Only what changes nothing may be sent a second time after it has reached a replica.
    assert "http-request disable-l7-retry if !METH_GET" in haproxy


def test_it_waits_longer_than_what_it_stands_before(haproxy: str) -> None:
    longest = max(LlmSettings().timeout_seconds + LlmSettings().patience_seconds, 2 * ApiSettings().heartbeat_seconds)
    assert min(seconds(haproxy, "client"), seconds(haproxy, "server")) > longest


def test_haproxy_takes_the_file(root: Path) -> None:
    haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not Path(haproxy).exists():
        pytest.skip("haproxy is not installed")
    command = [haproxy, "-c", "-q", "-f", "deploy/proxy/haproxy.cfg"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_stream_is_followed_over_breaks(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The follower of `make e2e-compose`, on a curl that breaks off in an event, and one that ends by its own bound."""
    curl = tmp_path / "curl"
    curl.write_text("""#!/usr/bin/env python3
import json, pathlib, sys
asked = pathlib.Path(__file__).with_name("asked")
asked.touch()
with asked.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
turn = len(asked.read_text().splitlines())
events = {
    1: [("a-1", "state", "running"), ("a-2", "progress", None)],
    2: [("a-2", "progress", None), ("a-3", "reset", "running")],
    3: [("a-4", "state", "completed")],
}[turn]
for id, type, state in events:
    data = {"state": state} if state else {}
    print("data: " + json.dumps({"id": id, "type": type, "data": data}) + "\\n", flush=True)
if turn == 1:
    print('data: {"id": "a-3", "ty', end="", flush=True)
if turn == 2:
    sys.exit(28)
""")
    curl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    following = runpy.run_path(str(root / "scripts" / "e2e_events.py"))["Following"]("http://x")
    following.join(60)
    assert (following.ended, following.breaks, following.resets) == (True, 1, 1)
    assert following.ids == ["a-1", "a-2", "a-2", "a-4"]
    assert following.repeated() == ["a-2"]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert ["Last-Event-ID: a-2" in line for line in asked] == [False, True, True]
