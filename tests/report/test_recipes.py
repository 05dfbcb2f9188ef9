"""The programs that the page gives its reader do what it says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.commits import ShardRef
from synfarm.contracts.manifests import ManifestLine
from synfarm.contracts.pages import ShardPage
from synfarm.report.commands import read_shards, redraw
from synfarm.report.options import Place
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm.storage.shard_writer import ShardWriter

STAND_IN = """
from contextlib import nullcontext
from types import SimpleNamespace
import synfarm.sdk
from synfarm.contracts.pages import ShardPage
def shards(job, limit):
    return ShardPage.from_bytes(open("page.json", "rb").read())
class Farm(nullcontext):
    jobs = SimpleNamespace(shards=shards)
synfarm.sdk.Client = lambda *config: Farm()
"""


@pytest.mark.integration
@pytest.mark.parametrize("local", [True, False])
def test_webdataset_reads_what_the_recipe_fetches(
    farm: Any, store_settings: StoreSettings, tmp_path: Path, local: bool
) -> None:
    settings, store, writer = store_settings, open_store(store_settings), ShardWriter()
    captions = ["A dog sleeps.", "Two apples."]
    for i, caption in enumerate(captions):
        writer.add(i, [farm.picture()] * 4, farm.group(i, "dog", caption).meta)
    shard = writer.finish()
    key = layout.shard(farm.job, 0, shard.sha256)
    store.put(key, shard.data)
    lines = [
        ManifestLine(unit=0, status="committed", shard=ShardRef(key=key, sha256=shard.sha256, size=len(shard.data))),
        ManifestLine(unit=1, status="committed", empty=8),
    ]
    (tmp_path / "page.json").write_bytes(ShardPage(items=tuple(lines)).to_bytes())
    place = Place(bucket=settings.bucket, prefix=settings.prefix, endpoint=f"http://{settings.endpoint}")
    access, secret = settings.access_key.get_secret_value(), settings.secret_key.get_secret_value()
    environment = {}
    if local:
        stack = {"api_url": "http://a", "trainer_url": "http://t", "store_endpoint": settings.endpoint}
        secrets = {"api_key": "k", "s3_access_key": access, "s3_secret_key": secret}
        (tmp_path / "stack.json").write_text(json.dumps(stack))
        (tmp_path / "secrets.json").write_text(json.dumps(secrets))
        place = replace(place, endpoint=None, folder=str(tmp_path))
    else:
        environment = {"S3_ACCESS_KEY": access, "S3_SECRET_KEY": secret}
    recipe = read_shards(farm.job, place, "jpg")
    assert ("Fill in" in recipe.text) is not local
    (tmp_path / "recipe.py").write_text(STAND_IN + recipe.code)
    done = subprocess.run(
        [sys.executable, "recipe.py"],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"dog {caption} (64, 64)" for caption in captions]


def test_the_redraw_commands_name_a_caption_and_its_format(farm: Any) -> None:
    recipe = redraw(farm.group(7, "dog", "A dog.", image_format="webp"))
    assert f"synfarm redraw {farm.job}-0000000007 0 -o redrawn.webp" in recipe.code
    assert f"JOB={farm.job} SAMPLE={farm.job}-0000000007" in recipe.code
    assert "every byte is the same" in recipe.text


def test_a_diffusion_model_is_not_promised_to_repeat_its_bytes(farm: Any) -> None:
    recipe = redraw(farm.group(7, "dog", "A dog.", renderer="diffusers", model="some/model"))
    assert "differ by rounding" in recipe.text


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (None, "'127.0.0.1:9000', "),
        ("http://127.0.0.1:1", "'127.0.0.1:1', "),
        ("https://s3.example", "'s3.example', "),
        ("s3.example", "'s3.example', "),
    ],
)
def test_the_recipe_keeps_to_the_stores_scheme(farm: Any, endpoint: str | None, said: str) -> None:
    (line,) = (
        line for line in read_shards(farm.job, Place(endpoint=endpoint), "jpg").code.splitlines() if "Minio(" in line
    )
    assert said in line
    assert line.endswith(f"secure={endpoint == 'https://s3.example'})")


@pytest.mark.parametrize("value", ["'); import os; ('", "a\nb", '"""'])
def test_a_place_stays_a_string_in_the_program(farm: Any, value: str) -> None:
    code = read_shards(farm.job, Place(bucket=value, endpoint=value), "jpg").code
    compile(read_shards(farm.job, Place(folder=value), "jpg").code, "recipe", "exec")
    assert "import os; (" not in code.replace(repr(value), "")
    compile(code, "recipe", "exec")
