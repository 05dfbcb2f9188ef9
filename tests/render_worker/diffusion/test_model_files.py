"""From a model's name to its folder: below the models' folder, or from a hub, which here is a small server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.render_worker.fake_hub import COMMIT, FakeHub, serving

from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.model_files import ModelFiles


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    copy = shutil.copytree(models / "sd", tmp_path / "served")
    (copy / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another variant")
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (copy / "safety_checker").mkdir()
    (copy / "safety_checker" / "model.safetensors").write_bytes(b"large")
    with serving(copy, tmp_path / "hub-cache", monkeypatch) as server:
        yield server


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


@pytest.mark.usefixtures("impatient_hub")
@pytest.mark.parametrize("gone", [True, False])
def test_a_hub_that_cannot_be_reached(hub: FakeHub, gone: bool) -> None:
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
    (root / "ring").mkdir()
    (root / "ring" / "x").symlink_to("x")
    for name in ("link", "folder", "ring"):
        with pytest.raises(EnvironmentFault, match=rf"'{name}' has a link that leads out of SYNFARM_RENDER_MODELS"):
            find(name, None, root)
    assert find("inside", None, root) == (root / "real").resolve()
    with pytest.raises(EnvironmentFault, match="'file' is a file"):
        find("file", None, root)
    with pytest.raises(EnvironmentFault, match="SYNFARM_RENDER_MODELS: there is no folder"):
        find("a", None, tmp_path / "none")
