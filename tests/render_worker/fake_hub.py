"""A hub of one repository, for tests of what is fetched."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(ThreadingHTTPServer):
    """Serves one repository, ``hub/model``, as the hub does; ``asked`` are the paths, ``refuse`` an error for all.

    Of the file whose path ends in ``stuck`` it sends half, tells so by ``is_stuck``, and waits for ``go_on``.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.asked = folder, list[str]()
        self.refuse: tuple[int, str] | None = None
        self.stuck: str | None = None
        self.is_stuck, self.go_on = threading.Event(), threading.Event()

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
            etag = f'"{_git_id(data)}"'
            self._send(200, data, {"ETag": etag, "X-Repo-Commit": COMMIT}, body)

    def _tree(self) -> list[dict[str, Any]]:
        folder = self.server.folder
        return [
            {"type": "file", "path": path.relative_to(folder).as_posix(), "size": len(data), "oid": _git_id(data)}
            for path in sorted(folder.rglob("*"))
            if path.is_file() and (data := path.read_bytes()) is not None
        ]

    def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body and self.server.stuck is not None and self.path.endswith(self.server.stuck):
            self.wfile.write(data[: len(data) // 2])
            self.server.is_stuck.set()
            self.server.go_on.wait(60)
        elif body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _git_id(data: bytes) -> str:
    """What the hub names a file by that is not in LFS."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serving(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that serves ``folder`` to the library of this process, which keeps what it fetches in ``cache``."""
    import huggingface_hub.constants as constants

    server = FakeHub(folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()
