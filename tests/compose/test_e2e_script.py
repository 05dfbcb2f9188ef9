"""`make e2e-compose` without Docker: it knows every service, finds a secret that is told, and loses no reason."""

from __future__ import annotations

import json
import runpy
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from tests.compose.merging import load, stack

FILES = ("docker-compose.yml", "docker-compose.replicas.yml", "deploy/observability/compose.yml")


@pytest.fixture(scope="module")
def scripts(root: Path) -> Any:
    """Its modules by their name's end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "scripts"))
        names = ("stack", "images", "observing", "blows", "compose")
        found = {name: runpy.run_path(str(root / "scripts" / f"e2e_{name}.py")) for name in names}
        return SimpleNamespace(**found)


def test_it_waits_for_every_service_and_counts_every_process(root: Path, scripts: Any) -> None:
    services = stack(root, *FILES)
    assert set(scripts.stack["LONG_RUNNING"]) == services.keys() - {"bucket"}
    assert scripts.images["STAND_INS"].keys() <= services.keys()
    scraped = yaml.safe_load((root / "deploy/observability/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert scripts.observing["PROCESSES"].keys() == {job["job_name"] for job in scraped}
    assert scripts.observing["PROCESSES"]["caption-api"] == services["caption-api"]["deploy"]["replicas"]
    assert scripts.observing["PROCESSES"]["render-worker"] == scripts.compose["RENDER_WORKERS"]


def test_images_are_swapped_and_nothing_else(scripts: Any, tmp_path: Path) -> None:
    made = scripts.stack["Stack"]("p", [1, 2, 3, 4, 5, 6], tmp_path)
    made.swap({"prometheus": "synfarm/prometheus:p"}, {"grafana"})
    swaps = load(made.swaps)["services"]
    assert swaps["prometheus"] == {"image": "synfarm/prometheus:p"}
    assert type(swaps["grafana"]).__name__ == "Reset"
    assert made.long_running == set(scripts.stack["LONG_RUNNING"]) - {"grafana"}
    assert made.env["SYNFARM_PORT_GRAFANA"] == "6"
    assert len(set(made.secrets.values())) == 2
    assert made.env.items() >= made.secrets.items()


def test_nothing_is_swapped_where_every_image_can_be_pulled(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Compose refuses a file whose `services:` is empty."""
    services = {name: {"image": name} for name in scripts.images["STAND_INS"]}
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\ncase " $* " in *" config "*) echo \'{json.dumps({"services": services})}\';; esac\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    made = scripts.stack["Stack"]("p", [1, 2, 3, 4, 5, 6], tmp_path)
    assert scripts.images["stand_ins"](made) == "everything else as it is pinned"
    assert not made.swaps.exists()
    assert made.long_running == set(scripts.stack["LONG_RUNNING"])


@pytest.mark.parametrize("place", ["history", "image inspect", "logs"])
def test_a_secret_that_is_told_is_found(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\ncase " $* " in *" $TELL "*) echo "x$SECRET/y";; esac\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    made = scripts.stack["Stack"]("p", [1, 2, 3, 4, 5, 6], tmp_path)
    monkeypatch.setenv("SECRET", made.secrets["SYNFARM_STORE_SECRET_KEY"])
    monkeypatch.setenv("TELL", "nothing")
    assert scripts.images["no_secret_told"](made).startswith("none of 2 secrets")
    monkeypatch.setenv("TELL", place)
    with pytest.raises(RuntimeError, match="tells SYNFARM_STORE_SECRET_KEY"):
        scripts.images["no_secret_told"](made)


def test_what_failed_first_is_told_though_cleaning_up_fails_too(scripts: Any, tmp_path: Path) -> None:
    compose, failed = scripts.compose["judged"].__globals__, scripts.compose["Failed"]

    class Broken(compose["Stack"]):  # type: ignore[misc, name-defined]
        def compose(self, *arguments: str, timeout: float = 120) -> str:
            raise failed(f"no {arguments[0]}")

    made = Broken("p", [1, 2, 3, 4, 5, 6], tmp_path)
    compose["remove"] = lambda stack: None
    assert scripts.compose["judged"](made) == ["no build", "something of project p is left: no down"]


def test_a_browser_that_does_not_start_costs_the_picture_alone(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chromium = tmp_path / "chromium"
    chromium.write_text("#!/bin/sh\nexit 1\n")
    chromium.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    told = scripts.observing["_picture"](tmp_path / "page.html")
    assert told.startswith(f"no picture: {chromium} does not start: ")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_a_proxy_of_the_shell_is_not_asked_for_the_stack(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'data: {"type": "state", "id": "1", "data": {"state": "completed"}}\n\n')

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = scripts.stack["Stack"]("p", [server.server_port] * 6, tmp_path)
        following = scripts.blows["Following"](f"http://127.0.0.1:{server.server_port}/events")
        try:
            with pytest.raises(ValueError, match="Expecting value"):  # an answer, which is no JSON
                made.api("/")
            following.join(60)
        finally:
            following.stop()
            server.shutdown()
    assert following.ended
