"""What ``datasets.save_to_disk`` leaves: Arrow files beside ``state.json`` and ``dataset_info.json``; needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from synfarm_trainer.evals.sets.gathering import gathered, plain_bytes, read_image, split_name
from synfarm_trainer.evals.sets.labelled import ALL, LabelledSet, SetInvalid

__all__ = ["is_saved_dataset", "open_saved_dataset"]

_MOST_OF_JSON = 64 * 1024 * 1024
"""Bytes of a file that describes the set: names of classes and of files."""


def is_saved_dataset(root: Path) -> bool:
    """Whether one or several splits were saved there."""
    return (root / "dataset_dict.json").is_file() or (root / "state.json").is_file()


def open_saved_dataset(root: Path) -> LabelledSet:
    """
    Raises:
        SetInvalid: pyarrow is not installed, or there is no column of images or of labels.
    """
    found: dict[str, list[tuple[Callable[[], Image.Image], str]]] = {}
    for split, folder in _folders(root).items():
        found.setdefault(split, []).extend(_rows(folder))
    return gathered(root, found, lambda read: read())


def _folders(root: Path) -> dict[str, Path]:
    if not (root / "dataset_dict.json").is_file():
        return {ALL: root}
    names = [_plain(name, root) for name in _list(_json(root / "dataset_dict.json"), "splits", root)]
    known = {split: root / name for name in names if (split := split_name(name)) is not None}
    if not known and len(names) != 1:
        raise SetInvalid(f"{root}: its splits {names} are neither train, val nor test; rename them, or save one")
    return known or {ALL: root / names[0]}


def _list(told: Mapping[str, Any], field: str, place: Path) -> list[Any]:
    found = told.get(field, [])
    if not isinstance(found, list):
        raise SetInvalid(f"{place}: {field!r} is no list; save the dataset again")
    return found


def _plain(name: object, place: Path) -> str:
    """A name of something in the folder itself, which is not to lead out of it."""
    if not isinstance(name, str) or Path(name).name != name or "\0" in name:
        raise SetInvalid(f"{place}: {str(name)[:80]!r} is no name of a part of it; save the dataset again")
    return name


def _json(path: Path) -> Mapping[str, Any]:
    try:
        told = json.loads(plain_bytes(path, _MOST_OF_JSON))
    except (OSError, ValueError, RecursionError) as error:
        raise SetInvalid(f"{path}: cannot be read ({error}); save the dataset again") from error
    if not isinstance(told, dict):
        raise SetInvalid(f"{path}: is no JSON object; save the dataset again")
    return told


def _columns(folder: Path) -> tuple[str, str, list[str] | None]:
    """Names of the columns of images and labels, and the names of classes where labels are numbers of them."""
    told = _json(folder / "dataset_info.json").get("features", {})
    features = told if isinstance(told, dict) else {}
    images = [name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image"]
    classes = [name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"]
    plain = [name for name in ("label", "labels", "class", "fine_label") if name in features]
    if len(images) != 1 or not (classes or plain):
        raise SetInvalid(
            f"{folder}: needs one column of type Image and one of type ClassLabel; it has {list(features)}"
        )
    label = next((name for name in plain if name in classes), (classes or plain)[0])
    told_names = features[label].get("names") if isinstance(features[label], dict) else None
    names = [str(name) for name in told_names] if isinstance(told_names, list) else None
    return images[0], label, names


def _rows(folder: Path) -> list[tuple[Callable[[], Image.Image], str]]:
    try:
        import pyarrow as arrow
    except ModuleNotFoundError as error:
        cure = "pip install pyarrow, or write the set as class folders or tars"
        raise SetInvalid(f"{folder}: a dataset saved by `datasets` needs pyarrow; {cure}") from error
    image, label, names = _columns(folder)
    rows: list[tuple[Callable[[], Image.Image], str]] = []
    for file in _list(_json(folder / "state.json"), "_data_files", folder):
        path = folder / _plain(file.get("filename") if isinstance(file, dict) else file, folder)
        try:
            if not path.is_file():
                raise OSError("it is missing, or no plain file")
            # Mapped: what is not looked at is not read.
            table = arrow.ipc.open_stream(arrow.memory_map(str(path))).read_all().select([image, label])
            # Lengths and places in it are believed from here on, by code that reads memory by them.
            table.validate(full=True)
            labels = iter(table.column(label).to_pylist())
        except (OSError, KeyError, ValueError, OverflowError, MemoryError, arrow.ArrowException) as error:
            raise SetInvalid(f"{path}: cannot be read ({error}); save the dataset again") from error
        for batch in table.to_batches():
            column = batch.column(0)
            rows += [(_Cell(column, place, path), _name(next(labels), names, path)) for place in range(len(column))]
    return rows


class _Cell:
    """One image of a column."""

    __slots__ = ("_column", "_path", "_place")

    def __init__(self, column: Any, place: int, path: Path) -> None:
        self._column, self._place, self._path = column, place, path

    def __call__(self) -> Image.Image:
        told = f"row {self._place} of {self._path}"
        try:
            value = self._column[self._place].as_py()
        except (ValueError, OverflowError) as error:  # names and texts that are none
            raise SetInvalid(f"{told} cannot be read ({error}); save the dataset again") from error
        data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, None)
        if isinstance(data, bytes):
            return read_image(data, told)
        if not isinstance(path, str) or "\0" in path:
            raise SetInvalid(f"{told} holds no image; leave such rows out")
        return read_image(Path(path), told)


def _name(value: object, names: list[str] | None, path: Path) -> str:
    if names is not None and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if names is not None or value is None:
        raise SetInvalid(f"{path}: a row has the label {value!r}, which names no class; leave such rows out")
    return str(value)
