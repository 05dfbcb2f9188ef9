"""What the four Dockerfiles promise, read from their text: no Docker is needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

FOLDERS = ("caption_api", "llm_server", "render_worker", "trainer")
WITH_TORCH = ("llm_server", "render_worker", "trainer")
BASE_IMAGE = "python:3.11-slim-bookworm"


def stages(text: str) -> dict[str, str]:
    """Body of each stage by its name; the last one is ''. Continued lines are joined, comments are out."""
    joined = re.sub(r"\\\n", "", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    found = re.split(r"^FROM +(\S+)(?: +AS +(\S+))? *$", joined, flags=re.MULTILINE)
    each = zip(*[iter(found[1:])] * 3, strict=True)
    return {name or "": f"FROM {parent}{body}".strip() for parent, name, body in each}


def instructions(stage: str, word: str) -> list[str]:
    return re.findall(rf"^{word} +(.*)$", stage, flags=re.MULTILINE)


def test_there_is_one_for_each_service(dockerfiles: dict[str, str]) -> None:
    assert tuple(dockerfiles) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_but_the_base_image_is_pulled_and_no_host_is_named(dockerfiles: dict[str, str], folder: str) -> None:
    text = dockerfiles[folder]
    parents = {stage.split()[1] for stage in stages(text).values()} - set(stages(text)) - {"${RENDERER}"}
    assert parents == {BASE_IMAGE}
    assert not re.search(r"^# *syntax", text, flags=re.MULTILINE)
    assert "://" not in text
    assert f'base.name="docker.io/library/{BASE_IMAGE}"' in text


@pytest.mark.parametrize("shared", ["base", "torch"])
def test_shared_stages_have_the_same_text_so_that_images_share_layers(dockerfiles: dict[str, str], shared: str) -> None:
    among = FOLDERS if shared == "base" else WITH_TORCH
    assert len({stages(dockerfiles[folder])[shared] for folder in among}) == 1
    assert "torch" not in stages(dockerfiles["caption_api"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_dependencies_come_before_code_and_code_is_this_service_alone(dockerfiles: dict[str, str], folder: str) -> None:
    found = stages(dockerfiles[folder])
    extra = folder.replace("_", "-")
    assert re.search(rf"(?<![\w-]){extra}(?![\w-])", found["requirements"])
    assert found["requirements"].count("COPY") == 1
    for stage in ("base", "torch", "dependencies"):
        assert "COPY" not in found.get(stage, ""), f"{stage}: a change of code would build it again"
    assert instructions(found["wheel"], "COPY") == [
        "pyproject.toml README.md LICENSE /src/",
        "src/synfarm /src/src/synfarm",
        f"services/{folder}/synfarm_{folder} /src/services/{folder}/synfarm_{folder}",
    ]
    assert "--no-deps --no-index" in found[""]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_process_is_nobody_under_tini_with_a_health_check_and_labels(
    dockerfiles: dict[str, str], folder: str
) -> None:
    final = stages(dockerfiles[folder])[""]
    assert instructions(final, "USER") == ["10001:10001"]
    assert [json.loads(line) for line in instructions(final, "ENTRYPOINT")] == [["tini", "--"]]
    assert [json.loads(line) for line in instructions(final, "CMD")] == [["python", "-m", f"synfarm_{folder}"]]
    assert instructions(final, "EXPOSE") == ["8000"]
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", final))
    assert labels >= {"title", "description", "licenses", "version", "revision", "created", "base.name"}
    assert final.index("ARG VERSION") > final.index("pip install"), "a new revision would install the package again"


def test_what_compiles_for_a_gpu_has_a_c_compiler(dockerfiles: dict[str, str]) -> None:
    """Triton calls one at run time; without it the network runs uncompiled, and only the log tells."""
    found = {folder: stages(dockerfiles[folder]) for folder in ("render_worker", "trainer")}
    for folder, stage, wanted in (
        ("render_worker", "diffusers", True),
        ("render_worker", "collage", False),
        ("trainer", "dependencies", True),
    ):
        assert bool(re.search(r"apt-get install .* gcc libc6-dev", found[folder][stage])) == wanted, stage


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("status", [200, 503, None])
def test_health_check(dockerfiles: dict[str, str], folder: str, status: int | None) -> None:
    (line,) = instructions(stages(dockerfiles[folder])[""], "HEALTHCHECK")
    _, _, code = json.loads(line.partition("CMD ")[2])
    assert ("'/health'" if folder == "llm_server" else "'/healthz'") in code

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status or 0)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        if status is None:
            server.shutdown()
            server.server_close()
        code = code.replace("8000", str(server.server_port))
        done = subprocess.run([sys.executable, "-ISc", code], capture_output=True, timeout=30, check=False)
        server.shutdown() if status else None
        thread.join()
    assert (done.returncode == 0) == (status == 200)


def test_dockerignore_is_an_allow_list_that_lets_in_what_is_copied(root: Path, dockerfiles: dict[str, str]) -> None:
    lines = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    # What is taken out of that again, wherever it lies: tests/compose/test_image_secrets.py.
    assert all(line.startswith("**/") for line in lines[1 + len(allowed) :])
    copied = set()
    for text in dockerfiles.values():
        for line in instructions(text, "COPY"):
            copied |= set(line.split()[:-1])
    for path in copied:
        assert (root / path).exists(), path
    generic = {re.sub(r"services/\w+/synfarm_\w+", "services/*/synfarm_*", path) for path in copied}
    assert generic == allowed
