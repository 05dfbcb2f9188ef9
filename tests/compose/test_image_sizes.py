"""The table of image sizes, from archives that are made here as `docker save` makes them."""

from __future__ import annotations

import gzip
import io
import json
import os
import runpy
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def script(root: Path) -> Mapping[str, Any]:
    return runpy.run_path(str(root / "scripts" / "image_sizes.py"))


BASE, NOISE = b"\0" * 3_000_000, os.urandom(1_000_000)


def archive(files: Mapping[str, bytes | str]) -> io.BytesIO:
    """Files, and links where a path stands for the content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
                tar.addfile(member)
                continue
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    stream.seek(0)
    return stream


def saved(base: bytes = BASE, noise: bytes = NOISE) -> io.BytesIO:
    """Two images on one base; the second has a layer of its own, and an instruction that made none."""
    run = "RUN |1 TORCH_INDEX= /bin/sh -c pip install torch # buildkit"
    config = {"history": [{}, {"created_by": "USER 10001", "empty_layer": True}, {"created_by": run}]}
    manifest = [
        {"Config": "blobs/1", "RepoTags": ["small:1"], "Layers": ["blobs/base"]},
        {"Config": "blobs/2", "RepoTags": ["large:1"], "Layers": ["2/base", "blobs/noise"]},
    ]
    return archive(
        {
            "blobs/base": base,
            "blobs/1": json.dumps({"history": [{}]}).encode(),
            "2/base": "../blobs/base",
            "blobs/noise": noise,
            "blobs/2": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


@pytest.mark.parametrize("packed", [False, True])
def test_both_sizes_are_told_whichever_way_the_engine_keeps_layers(script: Mapping[str, Any], packed: bool) -> None:
    images = script["measure"](saved(gzip.compress(BASE), gzip.compress(NOISE)) if packed else saved())
    assert images.keys() == {"small:1", "large:1"}
    base, noise = images["large:1"]
    assert images["small:1"] == [base]
    assert (base.unpacked, noise.unpacked) == (3_000_000, 1_000_000)
    assert 0 < base.compressed < 30_000
    assert noise.compressed == pytest.approx(1_000_000, rel=0.01)
    assert (base.made_by, noise.made_by) == ("base", "pip install torch")


def test_what_is_shared_counts_once_in_the_sum(script: Mapping[str, Any]) -> None:
    lines = script["table"](script["measure"](saved())).splitlines()
    assert lines[2].startswith("| `small:1` | 3 MB | 0 MB |")
    assert lines[3].startswith("| `large:1` | 4 MB | 1 MB | 3 MB `base`; 1 MB `pip install torch` |")
    assert lines[4].startswith("| all, shared layers once | 4 MB | 1 MB |")


def test_what_cannot_be_measured_is_said(script: Mapping[str, Any]) -> None:
    with pytest.raises(script["Unreadable"], match=r"no manifest\.json"):
        script["measure"](archive({"a": b"b"}))
    with pytest.raises(script["Unreadable"], match="zstd"):
        script["measure"](saved(b"\x28\xb5\x2f\xfd rest"))
