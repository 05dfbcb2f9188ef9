"""Columns of numbers in one object, in the safetensors format: each can be read, and proven, by itself.

The format is a length (8 bytes, little endian), that many bytes of JSON, then the columns without gaps. It is written
here by the standard library alone, because the package's own writer needs numpy, which a caption API does not have.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synfarm.contracts.columns import FORMAT, ColumnsRef
from synfarm.storage.protocol import ObjectStore, StoreDamaged

__all__ = ["Column", "Place", "column", "read_columns", "read_header", "recall_columns", "unsigned", "write_columns"]

_TYPES = {"B": "U8", "H": "U16", "I": "U32", "Q": "U64", "q": "I64", "d": "F64"}
_WIDTH = {"U8": 1, "U16": 2, "U32": 4, "U64": 8, "I64": 8, "F64": 8}


@dataclass(frozen=True, slots=True)
class Column:
    dtype: str
    """As safetensors names it."""
    shape: tuple[int, ...]
    data: bytes
    """Little endian."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column lies in the object, and what proves it."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int
    sha256: str


def unsigned(values: Sequence[int]) -> array[Any]:
    """The numbers in the narrowest of 8, 16, 32 bits that holds them."""
    highest = max(values, default=0)
    return array("B" if highest < 1 << 8 else "H" if highest < 1 << 16 else "I", values)


def column(values: array[Any] | bytes, *shape: int) -> Column:
    """A column of numbers; ``shape``: other than their count."""
    numbers = array("B", values) if isinstance(values, bytes) else values
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return Column(_TYPES[numbers.typecode], shape or (len(numbers),), numbers.tobytes())


def write_columns(columns: Mapping[str, Column]) -> tuple[bytes, int]:
    """The object's bytes and the length of its header; equal columns give equal bytes, in whatever order."""
    # Wide ones first, so that every column is aligned as its numbers are.
    order = sorted(
        columns.items(), key=lambda item: (-_WIDTH[item[1].dtype], not item[0].startswith("score."), item[0])
    )
    metadata = {"format": FORMAT, **{name: hashlib.sha256(one.data).hexdigest() for name, one in order}}
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, one in order:
        header[name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [end, end + len(one.data)]}
        end += len(one.data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = len(text).to_bytes(8, "little") + text
    return start + b"".join(one.data for _, one in order), len(start)


def read_header(data: bytes, size: int) -> dict[str, Place]:
    """Where each column lies; ``data`` begins with the whole header, ``size`` is of the object.

    Raises:
        ValueError: it is not the header of a columns file.
    """
    length = int.from_bytes(data[:8], "little") + 8
    try:
        told = json.loads(data[8:length])
        metadata = told.pop("__metadata__")
        places = {
            name: Place(
                one["dtype"],
                tuple(one["shape"]),
                length + one["data_offsets"][0],
                one["data_offsets"][1] - one["data_offsets"][0],
                metadata[name],
            )
            for name, one in told.items()
        }
        whole = all(one.length == math.prod(one.shape) * _WIDTH[one.dtype] for one in places.values())
        numbers = all(
            type(n) is int and n >= 0 for one in places.values() for n in (*one.shape, one.offset, one.length)
        )
        known = metadata["format"] == FORMAT
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError("not a columns file") from error
    end = length
    for one in sorted(places.values(), key=lambda one: (one.offset, one.length)):
        whole = whole and one.offset == end  # side by side, none upon another
        end += one.length
    if not (known and numbers and whole and end == size):
        raise ValueError(f"not a columns file of format {FORMAT}, or not the whole of it")
    return places


def recall_columns(store: ObjectStore, key: str) -> ColumnsRef | None:
    """What there is under a key; None: nothing.

    Raises:
        ObjectMissing, StoreDamaged, StoreError: it cannot be read.
    """
    info = store.head(key)
    if info is None:
        return None
    length = int.from_bytes(store.get_range(key, 0, 8), "little") + 8
    header = store.get_range(key, 0, length)
    return ColumnsRef(key=key, sha256=hashlib.sha256(header).hexdigest(), header_bytes=length, size=info.size)


def read_columns(
    store: ObjectStore, ref: ColumnsRef, wanted: Sequence[str] | None = None
) -> tuple[dict[str, Column], frozenset[str]]:
    """The columns named, every byte proven (None: all), and the names of all that the file has.

    One that is named and that the file does not have is left out.

    Raises:
        ObjectMissing, StoreError: it cannot be read.
        StoreDamaged: its bytes are not those of the reference; the message has no key.
    """
    header = store.get_range(ref.key, 0, ref.header_bytes)
    found = hashlib.sha256(header).hexdigest()
    if found != ref.sha256:
        raise StoreDamaged(f"the sha256 of its header is {found[:12]}…, the end record names {ref.sha256[:12]}…")
    try:
        places = read_header(header, ref.size)
    except ValueError as error:
        raise StoreDamaged(str(error)) from error
    chosen = {name: place for name, place in places.items() if wanted is None or name in wanted}
    return _read(store, ref.key, chosen), frozenset(places)


def _read(store: ObjectStore, key: str, chosen: Mapping[str, Place]) -> dict[str, Column]:
    """One request for columns that are neighbours."""
    columns: dict[str, Column] = {}
    run: list[tuple[str, Place]] = []
    ordered = sorted(((name, place) for name, place in chosen.items() if place.length), key=lambda item: item[1].offset)
    for number, (name, place) in enumerate(ordered):
        run.append((name, place))
        end = place.offset + place.length
        if number + 1 < len(ordered) and ordered[number + 1][1].offset == end:
            continue
        begin = run[0][1].offset
        data = memoryview(store.get_range(key, begin, end - begin))
        for each, one in run:
            part = data[one.offset - begin : one.offset - begin + one.length]
            if hashlib.sha256(part).hexdigest() != one.sha256:
                raise StoreDamaged(f"column {each} is not the one that was written")
            columns[each] = Column(one.dtype, one.shape, bytes(part))
        run = []
    empty = {name: Column(place.dtype, place.shape, b"") for name, place in chosen.items() if not place.length}
    return {**columns, **empty}
