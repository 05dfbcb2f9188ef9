"""Folders and tars of strangers: nothing of the machine around them is read, and one bad file costs itself alone."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from synfarm.importing.encoding import stored
from synfarm.importing.importing import ImportAsked, import_images
from synfarm.importing.listing import ConceptsFrom, ImportRefused
from synfarm.importing.planning import plan_import
from synfarm.storage.memory import MemoryStore

SECRET = "password of the bank"


def taken(*paths: Path, **options: Any) -> tuple[dict[str, str], bytes]:
    """(what was told by name, every byte that is stored now)."""
    store = MemoryStore()
    plan = plan_import(list(paths), **options)
    told = list(plan.left_out)
    asked = ImportAsked(name="n", owner="local", source=plan.source, per_unit=plan.per_unit)
    import_images(store, plan, asked, threads=2, tell=lambda *what: told.append(what))
    return dict(told), b"".join(store.get(info.key) for info in store.list(""))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text(SECRET)
    return tmp_path / "outside"


@pytest.mark.parametrize("concepts", [ConceptsFrom.FOLDER, ConceptsFrom.CLS, ConceptsFrom.JSON])
def test_links_out_of_the_folder_are_not_read(folder: Any, picture: Any, outside: Path, concepts: ConceptsFrom) -> None:
    root = folder(("owl", "fox"), 4)
    for path in root.glob("*/*.jpg"):
        path.with_suffix(".cls").write_text("good")
        path.with_suffix(".json").write_text('{"label": "good"}')
    (outside / "told.json").write_text(json.dumps({"caption": SECRET, "label": SECRET}))
    (outside / "mine.jpg").write_bytes(picture(77))
    (outside / "class").mkdir()
    (outside / "class" / "x.jpg").write_bytes(picture(78))
    (root / "owl" / "0.txt").symlink_to(outside / "secret")
    (root / "owl" / "1.cls").unlink()
    (root / "owl" / "1.cls").symlink_to("../../outside/secret")
    (root / "owl" / "2.json").unlink()
    (root / "owl" / "2.json").symlink_to(outside / "told.json")
    (root / "owl" / "mine.jpg").symlink_to(outside / "mine.jpg")
    (root / "stranger").symlink_to(outside / "class")
    (root / "fox" / "again.jpg").symlink_to("0.jpg")
    (root / "fox" / "again.txt").symlink_to("nowhere")
    told, kept = taken(root, concepts_from=concepts)
    assert SECRET.encode() not in kept
    assert told["owl/mine.jpg"] == "is a link that leads out of the folder; with --follow-links it is taken"
    assert told["fox/again.jpg"].startswith(("has the bytes of fox/0.jpg", "has no class"))
    if concepts is ConceptsFrom.FOLDER:
        assert "leads out of the folder" in told["stranger"]
        assert "leads out of the folder" in told["owl/0.txt"]
        assert "leads nowhere" in told["fox/again.txt"]
    else:
        at = 1 if concepts is ConceptsFrom.CLS else 2
        assert "leads out of the folder" in told[f"owl/{at}.jpg"]


def test_links_out_of_the_folder_are_taken_where_that_is_asked_for(folder: Any, picture: Any, outside: Path) -> None:
    root = folder(("owl",), 4)
    (outside / "x.jpg").write_bytes(picture(78))
    (root / "owl" / "0.txt").symlink_to(outside / "secret")
    (root / "stranger").symlink_to(outside)
    told, kept = taken(root, follow_links=True)
    assert SECRET.encode() in kept
    assert b"stranger/x.jpg" in kept
    assert not told


@pytest.mark.parametrize("alone", [False, True])
def test_tars_outside_of_the_folder_are_not_read(tmp_path: Path, picture: Any, outside: Path, alone: bool) -> None:
    def write(tar: Path, name: str, number: int) -> None:
        with tarfile.open(tar, "w") as file:
            info = tarfile.TarInfo(name)
            info.size = len(data := picture(number))
            file.addfile(info, io.BytesIO(data))

    root = tmp_path / "tars"
    root.mkdir()
    write(outside / "private.tar", "secret.jpg", 1)
    (root / "b.tar").symlink_to("../outside/private.tar")
    if alone:
        with pytest.raises(ImportRefused, match=r"b\.tar is a link that leads out of the folder"):
            plan_import([root])
    else:
        write(root / "a.tar", "owl.jpg", 2)
        (root / "c.tar").symlink_to("a.tar")
        plan = plan_import([root])
        assert [item.name for item in plan.items] == ["a.tar/owl.jpg"]
        assert dict(plan.left_out)["b.tar"] == "is a link that leads out of the folder; with --follow-links it is taken"
    assert any(item.name == "b.tar/secret.jpg" for item in plan_import([root], follow_links=True).items)


@pytest.mark.parametrize("follow_links", [False, True])
def test_links_to_themselves_cost_themselves(folder: Any, follow_links: bool) -> None:
    root = folder(("owl",), 4)
    (root / "owl" / "0.txt").symlink_to("0.txt")
    (root / "owl" / "1.txt").symlink_to("2.jpg/x")
    (root / "owl" / "ring.jpg").symlink_to("ring.jpg")
    (root / "ring").symlink_to("ring")
    told, _ = taken(root, follow_links=follow_links)
    assert told == dict.fromkeys(
        ("owl/0.txt", "owl/1.txt"), "is a link that leads nowhere; the image's class stands in"
    )


@pytest.mark.parametrize("concepts", [ConceptsFrom.FOLDER, ConceptsFrom.CLS])
def test_pipes_and_files_without_an_end_are_not_waited_for(folder: Any, concepts: ConceptsFrom) -> None:
    root = folder(("owl",), 6)
    for path in root.glob("*/*.jpg"):
        path.with_suffix(".cls").write_text("good")
    os.mkfifo(root / "owl" / "0.txt")
    (root / "owl" / "1.cls").unlink()
    os.mkfifo(root / "owl" / "1.cls")
    os.mkfifo(root / "owl" / "pipe.jpg")
    (root / "owl" / "2.txt").symlink_to("/dev/zero")
    for name in ("huge.jpg", "3.txt"):
        with (root / "owl" / name).open("wb") as file:
            file.truncate(1 << 36)
    tracemalloc.start()
    try:
        told, _ = taken(root, concepts_from=concepts, follow_links=True)
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()
    assert told["owl/huge.jpg"] == "has 68719476736 bytes, at most 268435456 are read"
    assert told["owl/3.jpg"] == "its caption cannot be read, its class stands in: it has 68719476736 bytes"
    assert told["owl/0.txt"] == told["owl/2.txt"] == "is no plain file; the image's class stands in"
    if concepts is ConceptsFrom.CLS:
        assert told["owl/1.jpg"] == "its class cannot be read: is no plain file"
    os.mkfifo(root / "x.tar")
    with pytest.raises(ImportRefused, match="is neither a folder nor a file"):
        plan_import([root / "x.tar"])


def test_bad_members_of_a_tar_cost_themselves(tmp_path: Path, picture: Any) -> None:
    def add(name: str, data: bytes = b"", **more: Any) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for field, value in more.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(data))

    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, name in enumerate(("../../up.jpg", "/abs.jpg", "odd\n\x1b\udcff.jpg", "twice.jpg", "twice.jpg")):
            add(name, picture(number))
        for number, text in enumerate((b"[" * 200_000, b'{"label": "\\ud800"}', b'{"label": ' + b"9" * 5000 + b"}")):
            add(f"bad{number}.jpg", picture(20 + number))
            add(f"bad{number}.json", text)
        add("half.jpg", picture(30))
        add("half.json", b'{"caption": "\\udcff"}')
        add("linked.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add("classless.jpg", picture(31))
        add("classless.cls", type=tarfile.LNKTYPE, linkname="bad0.json")
        add("long.jpg", picture(32))
        add("long.txt", b"x" * 2_000_000)
    told, kept = taken(tmp_path / "a.tar")
    assert b"root:" not in kept
    assert told["a.tar/linked.jpg"] == "is a link, which is not read"
    assert told["a.tar/classless.jpg"] == "its class in classless.cls is a link"
    assert told["a.tar/twice.jpg"] == "an earlier member of its tar has the same name"
    assert told["a.tar/bad0.jpg"] == "its class in bad0.json cannot be read: it is nested too deeply"
    assert "surrogates not allowed" in told["a.tar/bad1.jpg"]
    assert "its class in bad2.json" in told["a.tar/bad2.jpg"]
    assert "surrogates not allowed" in told["a.tar/half.jpg"]
    assert "its class stands in" in told["a.tar/long.jpg"]
    for name in (b"../../up.jpg", b"/abs.jpg", b"odd\\\\n\\\\x1b\\\\xff.jpg", b"half.jpg", b"long.jpg"):
        assert b"a.tar/" + name in kept


def test_a_file_that_is_mostly_no_pixels_is_not_kept_as_it_is(picture: Any) -> None:
    """A shard holds many, each of any length that its segments of comments give it."""
    plain: bytes = picture(1)
    bloated = plain[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 8 + plain[2:]
    assert stored(plain, "jpg", 64, 95) == plain
    assert len(stored(bloated, "jpg", 64, 95)) < 10_000
