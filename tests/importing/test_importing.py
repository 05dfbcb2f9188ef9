"""Imports on the in-memory store: what is taken, what is told, what is refused, what an interruption leaves."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Commit
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.tombstones import Tombstone
from synfarm.housekeeping.collecting import collect
from synfarm.housekeeping.verification.verifying import verify
from synfarm.importing.encoding import BadFile, stored
from synfarm.importing.importing import ImportAsked, Imported, import_images
from synfarm.importing.listing import ConceptsFrom, ImportRefused
from synfarm.importing.planning import plan_import
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectStore
from synfarm.storage.shard_reader import Group, fetch_group

Told = list[tuple[str, str]]


def take(store: ObjectStore, *paths: Path, told: Told | None = None, **options: Any) -> Imported:
    plan = plan_import(list(paths), concepts_from=options.pop("concepts_from", None), per_unit=options.pop("unit", 4))
    fields = {"name": "photos", "owner": "local", "source": plan.source, "per_unit": plan.per_unit, **options}
    log: Told = [] if told is None else told
    log += plan.left_out
    return import_images(store, plan, ImportAsked(**fields), threads=2, tell=lambda *what: log.append(what))


def groups(store: ObjectStore, done: Imported) -> dict[str, Group]:
    """By name of the file that was imported."""
    spec, found = JobSpec.from_bytes(store.get(layout.job(done.job))), {}
    for unit in range(spec.units):
        commit = Commit.from_bytes(store.get(layout.commit(done.job, unit)))
        for row in commit.groups:
            assert commit.shard is not None
            group = fetch_group(store, commit.shard.key, row)
            found[str(group.meta().scenes[0]["file"])] = group
    return found


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def test_class_folders_become_a_finished_job_that_verifies(folder: Any, picture: Any) -> None:
    root, store = folder(), MemoryStore()
    (root / "owl" / "0.txt").write_text("an owl at night\n")
    (root / "owl" / "large.png").write_bytes(picture(900, 800, 400, "PNG"))
    (root / "owl" / ".hidden.jpg").write_bytes(b"no image")
    (root / "owl" / "deeper").mkdir()
    (root / "owl" / "deeper" / "x.webp").write_bytes(picture(901, form="WEBP"))
    done = take(store, root)
    assert (done.ended.counts.images, done.ended.counts.empty, done.ended.counts.units_committed) == (14, 0, 4)
    found = groups(store, done)
    assert found["red fox/3.jpg"].images == ((root / "red fox" / "3.jpg").read_bytes(),)
    assert found["red fox/3.jpg"].meta().caption == found["red fox/3.jpg"].row.concept == "red fox"
    assert found["owl/0.jpg"].meta().caption == "an owl at night"
    with Image.open(io.BytesIO(found["owl/large.png"].images[0])) as large:
        assert (large.format, large.size) == ("JPEG", (512, 256))
    checked = verify(store, done.job)
    assert checked.clean
    assert (checked.state, checked.images_checked, checked.planned) == ("completed", 14, 14)
    spec = JobSpec.from_bytes(store.get(layout.job(done.job)))
    assert [concept.name for concept in spec.concepts] == ["owl", "red fox"]
    assert spec.origin == "2: owl, red fox; 14 images imported from folder 'photos'"
    assert store.head(layout.active(done.job)) is None
    assert collect(store, job=done.job, delete=True).objects == 0
    assert "They are not synthetic" in store.get(layout.card(done.job)).decode()
    # Shards hold images of several classes: a plan shuffles shards first.
    first = Commit.from_bytes(store.get(layout.commit(done.job, 0)))
    assert {row.concept for row in first.groups} == {"owl", "red fox"}


def test_tars_have_classes_and_texts_beside_their_images(tmp_path: Path, picture: Any) -> None:
    with tarfile.open(tmp_path / "a-000.tar", "w") as tar:
        add(tar, "x1.jpg", picture(1))
        add(tar, "x1.cls", b"3\n")
        add(tar, "x2.png", picture(2, form="PNG"))
        add(tar, "x2.json", json.dumps({"label": 7, "caption": "two of them"}).encode())
        add(tar, "x3.jpg", picture(3))
    with tarfile.open(tmp_path / "a-001.tar", "w") as tar:
        add(tar, "x1.jpg", picture(4))
        add(tar, "x1.cls", b"3")
        add(tar, "x1.txt", b"another one")
    store, told = MemoryStore(), Told()
    done = take(store, tmp_path)
    found = groups(store, done)
    rows = {name: (group.row.concept, group.meta().caption) for name, group in found.items()}
    assert rows == {
        "a-000.tar/x1.jpg": ("3", "3"),
        "a-000.tar/x2.png": ("7", "two of them"),
        "a-000.tar/x3.jpg": ("(none)", ""),
        "a-001.tar/x1.jpg": ("3", "another one"),
    }
    assert verify(store, done.job).clean
    by_class = take(
        store, tmp_path / "a-001.tar", tmp_path / "a-000.tar", concepts_from=ConceptsFrom.CLS, name="b", told=told
    )
    assert sorted(told) == [
        ("a-000.tar/x2.png", "has no class in a .cls"),
        ("a-000.tar/x3.jpg", "has no class in a .cls"),
    ]
    assert by_class.ended.counts.images == 2


def test_bad_files_are_left_out_and_told(folder: Any, picture: Any) -> None:
    root, store, told = folder(each=3), MemoryStore(), Told()
    whole = (root / "owl" / "0.jpg").read_bytes()
    (root / "owl" / "cut.jpg").write_bytes(whole[:-40])
    (root / "owl" / "text.png").write_bytes(b"not an image at all")
    (root / "owl" / "empty.jpg").write_bytes(b"")
    (root / "owl" / "tiny.png").write_bytes(picture(5, 4, 4, "PNG"))
    (root / "red fox" / "copy.jpg").write_bytes(whole)
    (root / "nothing").mkdir()
    (root / "stray.jpg").write_bytes(picture(6))
    (root / os.fsdecode(b"owl/odd \xff\n.jpg")).write_bytes(picture(7))
    done = take(store, root, told=told)
    assert (done.ended.counts.images, done.ended.counts.empty, done.ended.planned) == (7, 4, 11)
    why = dict(told)
    assert why.pop("red fox/copy.jpg") == "has the bytes of owl/0.jpg of class 'owl'"
    assert why.pop("stray.jpg") == "lies in no class folder"
    assert sorted(why) == ["owl/cut.jpg", "owl/empty.jpg", "owl/text.png", "owl/tiny.png"]
    assert all(text.startswith("does not decode") for name, text in why.items() if name != "owl/tiny.png")
    assert "owl/odd \\xff\\n.jpg" in groups(store, done)
    assert plan_import([root]).notes == ("class 'nothing' has no image; it is left out",)
    assert verify(store, done.job).clean


@pytest.mark.parametrize("operation", ["create", "create.answer", "put"])
def test_an_interrupted_import_is_not_seen_and_goes_on(folder: Any, operation: str) -> None:
    root, count, store = folder(), 0, MemoryStore()
    (root / "owl" / "cut.jpg").write_bytes(b"x")
    whole = MemoryStore()
    expected = groups(whole, take(whole, root))

    def stop(done: str, key: str) -> None:
        nonlocal count
        if done == operation:
            count += 1
            if count > rest:
                raise RuntimeError("killed")

    rest = 0
    while True:
        count, store.fault = 0, stop
        try:
            done = take(store, root)
            break
        except RuntimeError:
            store.fault = None
            keys = [info.key for info in store.list("jobs/")]
            # Whoever meets the job meets all of it; an answer may have been lost on the way.
            assert not any(key.endswith("/job.json") for key in keys) or operation == "create.answer"
            rest += 1
    store.fault = None
    assert rest > 2
    assert {name: group.images for name, group in groups(store, done).items()} == {
        name: group.images for name, group in expected.items()
    }
    assert verify(store, done.job).clean
    assert len(list(store.list_folders("jobs/"))) == 1
    again = take(store, root)
    assert (again.job, again.found, again.ended) == (done.job, 4, done.ended)


def test_a_name_stands_for_its_files(folder: Any, picture: Any) -> None:
    root, store = folder(), MemoryStore()
    done = take(store, root)
    with pytest.raises(ImportRefused, match=r"--name 'photos': it stands for an import of other files"):
        take(store, root, size=64)
    (root / "owl" / "more.jpg").write_bytes(picture(77))
    with pytest.raises(ImportRefused, match="choose another name"):
        take(store, root)
    assert take(store, root, name="more").job != done.job
    (root / "owl" / "more.jpg").unlink()
    store.create(layout.tombstone(done.job), Tombstone(by="local", at=utc_now()).to_bytes())
    with pytest.raises(ImportRefused, match=f"its job {done.job} was deleted; choose another name"):
        take(store, root)


def test_files_that_change_under_an_interrupted_import_are_refused(folder: Any) -> None:
    root, store = folder(), MemoryStore()

    def stop(operation: str, key: str) -> None:
        if operation == "create" and "/commits/" in key:
            raise RuntimeError("killed")

    store.fault = stop
    with pytest.raises(RuntimeError):
        take(store, root)
    store.fault = None
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(ImportRefused, match=r"they have changed since the import was interrupted"):
        take(store, root)


def divided(root: Path) -> None:
    (root / "train" / "owl").mkdir(parents=True)
    (root / "val").mkdir()


def no_classes(root: Path) -> None:
    (root / "x.jpg").write_bytes(b"x")


def named(*names: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for number, name in enumerate(names):
            (root / name).mkdir()
            (root / name / "x.jpg").write_bytes(b"x" * (number + 1))

    return make


def cut_tar(root: Path) -> None:
    with tarfile.open(root / "a.tar", "w") as tar:
        add(tar, "x.jpg", b"x" * 2000)
    (root / "a.tar").write_bytes((root / "a.tar").read_bytes()[:1000])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda root: None, r"has no class folders; put each class .* --concepts-from none"),
        (no_classes, "has no class folders"),
        (divided, r"is divided into train, val; import one of them: .*train\."),
        (named("a  b"), r"class 'a  b' cannot be the name of a concept: .* rename it"),
        (named("Owl", "owl"), "classes 'Owl' and 'owl' differ in case alone"),
        (cut_tar, r"is no tar, or cut off"),
        (named("bad"), "none of 1 files is an image"),
        (lambda root: (root / "empty").mkdir(), r"no \.jpg, \.png or \.webp to import \(class 'empty' has no image"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_the_cure(
    tmp_path: Path, make: Callable[[Path], None], told: str
) -> None:
    root, store = tmp_path / "photos", MemoryStore()
    root.mkdir()
    make(root)
    with pytest.raises(ImportRefused, match=told):
        take(store, root)
    assert not [
        info.key for info in store.list("jobs/") if "/commits/" not in info.key and "/captions/" not in info.key
    ]


def test_files_are_kept_where_they_serve_and_encoded_anew_once_elsewhere(picture: Any) -> None:
    for mode in ("RGB", "L"):
        plain = picture(1, mode=mode)
        assert stored(plain, "jpg", 64, 95) is plain
    webp = picture(1, form="WEBP")
    assert stored(webp, "webp", 64, 95) is webp
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(picture(1))) as image:
        image.save(turned, "JPEG", exif=exif)
    clear = io.BytesIO()
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(clear, "PNG")
    for data, size in (
        (turned.getvalue(), (36, 48)),
        (picture(1, mode="CMYK"), (48, 36)),
        (picture(1) + b"more", (48, 36)),
        (picture(1, 128, 32), (64, 16)),
        (webp, (48, 36)),
        (clear.getvalue(), (32, 32)),
    ):
        made = stored(data, "jpg", 64, 95)
        with Image.open(io.BytesIO(made)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", size)
            assert not image.getexif()
            assert data is not clear.getvalue() or image.getpixel((5, 5)) == (255, 255, 255)
        assert stored(made, "jpg", 64, 95) is made
    deep = io.BytesIO()
    Image.new("I;16", (32, 32)).save(deep, "PNG")
    with pytest.raises(BadFile, match="more than 8 bits"):
        stored(deep.getvalue(), "jpg", 64, 95)
