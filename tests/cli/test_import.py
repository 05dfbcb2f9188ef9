"""`synfarm import` as a user calls it, on a real store."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import Result

from synfarm.contracts.manifests import Ended
from synfarm.settings import StoreSettings

pytestmark = pytest.mark.integration
Run = Callable[..., Result]


@pytest.fixture
def ran(run: Run, store_settings: StoreSettings) -> Run:
    environment = {
        "SYNFARM_STORE_ENDPOINT": store_settings.endpoint,
        "SYNFARM_STORE_ACCESS_KEY": store_settings.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": store_settings.secret_key.get_secret_value(),
        "SYNFARM_STORE_BUCKET": store_settings.bucket,
        "SYNFARM_STORE_PREFIX": store_settings.prefix,
    }
    return lambda *arguments: run(*arguments, env=environment)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(10):
        folder = tmp_path / "photos" / ("owl", "fox")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        made = io.BytesIO()
        Image.new("RGB", (40 + number, 30), (25 * number, 90, 0)).save(made, "JPEG")
        (folder / f"{number}.jpg").write_bytes(made.getvalue())
    return tmp_path / "photos"


def test_import_verify_gc_export_and_import_again(ran: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "owl" / "cut.jpg").write_bytes(b"\xff\xd8no")
    arguments = ("import", photos, "--name", "photos", "--images-per-shard", "4")
    first = ran(*arguments)
    assert first.exit_code == 0, first.stderr
    assert "10 images of 2 concepts in 3 shards" in first.stdout
    assert "1 file could not be read" in first.stdout
    assert "owl/cut.jpg: does not decode" in first.stderr
    job = first.stdout.split()[1].rstrip(":")
    assert f"synfarm runs start {job} --set data.views=1 --set data.crops=2 --set objective.name=simclr" in first.stdout
    again = ran(*arguments)
    assert f"job {job}: " in again.stdout
    assert "3 shards of them there already" in again.stdout
    assert Ended.model_validate(json.loads(ran(*arguments, "--json").stdout)).job == job
    verified = ran("verify", "latest")
    assert verified.exit_code == 0
    assert "11 captions planned = 10 with 10 images + 1 empty slot + 0 in 0 dead units" in verified.stdout
    assert "Nothing to free in 1 job." in ran("gc").stdout
    exported = ran("export", job, "--to", tmp_path / "out")
    assert exported.exit_code == 0, exported.stderr
    card = (tmp_path / "out" / "README.md").read_text()
    assert "not synthetic ones" in card
    assert "collage" not in card
    # What was exported is a plain WebDataset, and can be imported in its turn.
    tars = ran("import", *sorted((tmp_path / "out").glob("*.tar")), "--name", "once more", "--format", "jpg")
    assert "10 images of 2 concepts" in tars.stdout, tars.stderr


def test_what_is_wrong_is_told_with_its_cure(ran: Run, photos: Path, tmp_path: Path) -> None:
    assert ran("import", photos, "--name", "photos").exit_code == 0
    for arguments, told in (
        ((photos, "--name", "photos", "--size", "64"), "--name 'photos': it stands for an import of other files"),
        ((photos, "--name", "no/name"), "--name: "),
        ((photos, "--name", "x", "--owner", "/"), "--owner: "),
        ((tmp_path / "absent", "--name", "x"), "does not exist; name a folder of images, or .tar files"),
        ((photos / "owl", "--name", "x"), "say --concepts-from none"),
        ((photos, photos, "--name", "x"), "name one folder, or tars alone"),
    ):
        refused = ran("import", *arguments)
        assert refused.exit_code == 2, refused.stdout
        assert told in " ".join(refused.stderr.split())
    flat = ran("import", photos / "owl", "--name", "owls", "--concepts-from", "none")
    assert "5 images of 0 concepts" in flat.stdout, flat.stderr
