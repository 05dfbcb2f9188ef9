"""From a model's name to its folder: below the models' folder, or from a hub, which here is a small server."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.model_files import ModelFiles

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(ThreadingHTTPServer):
    """Serves one repository, ``hub/model``, as the hub does; ``asked`` are the paths, ``refuse`` an error for all."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.asked = folder, list[str]()
        self.refuse: tuple[int, str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        if self.server.refuse is not None:
            self._send(self.server.refuse[0], b"{}", {"X-Error-Code": self.server.refuse[1]}, body)
        elif not path.startswith(("/api/models/hub/model/", "/hub/model/")):
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        elif COMMIT not in path:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
        elif path.startswith("/api/"):
            self._send(200, json.dumps(self._tree()).encode(), {}, body)
        else:
            data = (self.server.folder / path.partition(f"/resolve/{COMMIT}/")[2]).read_bytes()
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            self._send(200, data, {"ETag": etag, "X-Repo-Commit": COMMIT}, body)

    def _tree(self) -> list[dict[str, Any]]:
        folder = self.server.folder
        return [
            {"type": "file", "path": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "oid": "0" * 40}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]

    def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    import huggingface_hub.constants as constants

    copy = shutil.copytree(models / "sd", tmp_path / "served")
    (copy / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another variant")
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (copy / "safety_checker").mkdir()
    (copy / "safety_checker" / "model.safetensors").write_bytes(b"large")
    server = FakeHub(copy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def find(name: str = "hub/model", revision: str | None = COMMIT, root: Path | None = None) -> Path:
    return ModelFiles(root).find("render", name, revision)


def test_a_model_of_the_hub_is_fetched_without_pickles_variants_or_checker_and_drawn(
    hub: FakeHub, load: Callable[..., Any], render_settings: Callable[..., RenderSettings], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    model = load(render_settings("hub/model", revision=COMMIT), tmp_path / "empty")
    assert model.adapter.pipeline.unet is not None
    fetched = {path.rpartition(COMMIT)[2] for path in hub.asked if path.startswith("/hub/")}
    assert "/unet/diffusion_pytorch_model.safetensors" in fetched
    assert not [path for path in fetched if ".fp16." in path or path.endswith(".bin") or "checker" in path]
    hub.shutdown()
    hub.server_close()
    assert find().name == COMMIT, "what was fetched needs no hub"


def test_a_download_tells_that_it_gets_on_and_may_be_ended(hub: FakeHub) -> None:
    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    with pytest.raises(Enough):
        ModelFiles(None).find("render", "hub/model", COMMIT, step=stop)
    told: list[int] = []
    ModelFiles(None).find("render", "hub/model", COMMIT, step=lambda: told.append(1))
    assert told


def test_unknown_models_and_revisions_are_told_apart(hub: FakeHub) -> None:
    with pytest.raises(EnvironmentFault, match=r"render\.model: 'hub/none'.*knows no such model.*correct the name"):
        find("hub/none")
    with pytest.raises(EnvironmentFault, match=r"render\.model: 'a/b/c'.*knows no such model"):
        find("a/b/c")
    with pytest.raises(EnvironmentFault, match=r"render\.revision: 'hub/model' has no 'v9'; submit"):
        find(revision="v9")


def test_a_gated_model_asks_for_a_token(hub: FakeHub) -> None:
    hub.refuse = (403, "GatedRepo")
    with pytest.raises(EnvironmentFault, match=r"'hub/model'.*is gated: accept its terms.*HF_TOKEN"):
        find()


@pytest.mark.parametrize("gone", [True, False])
def test_a_hub_that_cannot_be_reached(hub: FakeHub, gone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.utils import _http

    # It tries for twenty seconds; here it need not wait between.
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None, time=time.time))
    if gone:
        hub.shutdown()
        hub.server_close()
    else:
        hub.refuse = (503, "")
    with pytest.raises(EnvironmentFault, match=r"'hub/model'.*hub cannot be reached.*SYNFARM_RENDER_MODELS"):
        find()


def test_a_hub_model_must_be_pinned(tmp_path: Path) -> None:
    with pytest.raises(UnitFault, match=r"render\.revision: pin 'some/model'"):
        find("some/model", None)
    with pytest.raises(EnvironmentFault, match=r"render\.revision: pin 'some/model'.*or put a folder of that name"):
        find("some/model", None, tmp_path)


def test_a_folder_needs_no_pin_and_goes_before_the_hub(models: Path) -> None:
    assert find("sd", None, models) == (models / "sd").resolve()
    assert find("sd", COMMIT, models) == (models / "sd").resolve()


def test_no_way_out_of_the_folder_of_models(tmp_path: Path) -> None:
    root, outside = tmp_path / "models", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "model_index.json").write_text("{}")
    (root / "link").symlink_to(outside)
    (root / "folder").mkdir()
    (root / "folder" / "model_index.json").symlink_to(outside / "model_index.json")
    (root / "inside").symlink_to(root / "real")
    (root / "real").mkdir()
    (root / "file").write_text("")
    for name in ("link", "folder"):
        with pytest.raises(EnvironmentFault, match=rf"'{name}' has a link that leads out of SYNFARM_RENDER_MODELS"):
            find(name, None, root)
    assert find("inside", None, root) == (root / "real").resolve()
    with pytest.raises(EnvironmentFault, match="'file' is a file"):
        find("file", None, root)
    with pytest.raises(EnvironmentFault, match="SYNFARM_RENDER_MODELS: there is no folder"):
        find("a", None, tmp_path / "none")
