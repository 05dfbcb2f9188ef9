"""safetensors files whose headers lie: an error that says so, before any memory is taken."""

from __future__ import annotations

import json
import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from synfarm.storage.columns_file import read_header
from synfarm.storage.memory import MemoryStore
from synfarm_trainer import tensor_files
from synfarm_trainer.config import OfStore
from synfarm_trainer.initial.reading import read_weights
from synfarm_trainer.networks.refused import NetworkRefused
from synfarm_trainer.networks.timm_models import of_folder, of_timm
from synfarm_trainer.tensor_files import tensors_in

KEY = "weights/own.safetensors"


def file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def one(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


LIES = {
    "a header of 2^60 bytes": file(b"{}", length=1 << 60),
    "a header of 2^64 - 1 bytes": file(b"{}", length=(1 << 64) - 1),
    "no header": b"\1\2",
    "a header that is nested": file(b'{"a":' + b"[" * 100_000),
    "a product of sides beyond 2^64": file({"a": one([1 << 40, 1 << 40], 0, 8)}, bytes(8)),
    "a side of 2^64 - 1 beside one of 0": file({"a": one([0, (1 << 64) - 1], 0, 0)}),
    "sides of 2^62 beside one of 0": file({"a": one([0, 1 << 62, 1 << 62], 0, 0)}),
    "a side below zero": file({"a": one([-1], 0, 4)}, bytes(4)),
    "more than there is": file({"a": one([1 << 38], 0, 1 << 40)}, bytes(8)),
    "offsets that overlap": file({"a": one([2], 0, 8), "b": one([2], 4, 12)}, bytes(12)),
    "offsets of the same place": file({"a": one([2], 0, 8), "b": one([2], 0, 8)}, bytes(8)),
    "offsets in reverse": file({"a": one([1], 4, 0)}, bytes(4)),
    "bytes of no tensor": file({"a": one([1], 0, 4)}, bytes(4000)),
    "a type that there is not": file({"a": one([1], 0, 16, "F128")}, bytes(16)),
    "a type that torch has not": file({"a": one([4], 0, 3, "F6_E2M3")}, bytes(3)),
}


@contextmanager
def little_memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


@pytest.mark.parametrize("name", LIES)
def test_weights_whose_header_lies_are_refused_without_memory(name: str, tmp_path: Path) -> None:
    lie, store = LIES[name], MemoryStore()
    store.put(KEY, lie)
    own = tmp_path / "own.safetensors"
    own.write_bytes(lie)
    (tmp_path / "backbone.safetensors").write_bytes(lie)
    told = {"arguments": {"embed_dim": 8, "depth": 1, "num_heads": 1, "img_size": 16, "patch_size": 16}}
    (tmp_path / "backbone.json").write_text(json.dumps(told))
    with little_memory():
        with pytest.raises(ValueError, match=r"\w"):
            tensors_in(lie)
        with pytest.raises(ValueError, match=f"model.init_from: {KEY} is no safetensors file .*; name another"):
            read_weights(OfStore(KEY), store)
        if "beside" in name:  # building a network takes its time
            with pytest.raises(NetworkRefused, match="name its own model"):
                of_timm("test_vit", own)
        with pytest.raises(NetworkRefused, match="export it again"):
            of_folder(tmp_path)


def test_a_full_memory_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a checkpoint the cure would be to delete it; and a start that lacked memory is worth another."""

    def full(data: bytes) -> dict[str, torch.Tensor]:
        raise MemoryError

    monkeypatch.setattr(tensor_files, "load", full)
    with pytest.raises(MemoryError):
        tensors_in(b"")


@pytest.mark.parametrize(
    "header",
    [
        {"a": one([1 << 40, 1 << 40], 0, 8, "U8")},
        {"a": one([8], 0, 8, "U8"), "b": one([8], 0, 8, "U8")},
        {"a": one([8], -8, 0, "U8")},
        {"a": one([4], 4, 8, "U8")},
        {"a": {"dtype": "U8", "shape": ["x"], "data_offsets": [0, 8]}},
        {"a": {"dtype": ["U8"], "shape": [8], "data_offsets": [0, 8]}},
        {"a": {"dtype": "U8", "shape": {"8": 1}, "data_offsets": [0, 8]}},
        {"a": {"dtype": "U8", "shape": [8.0], "data_offsets": [0.0, 8.0]}},
        b'{"a":' + b"[" * 100_000,
    ],
)
def test_columns_whose_header_lies_are_refused(header: object) -> None:
    if isinstance(header, dict):
        header |= {"__metadata__": {"format": "synfarm-columns-1", **dict.fromkeys(header, "0" * 64)}}
    told = file(header)
    for size in (len(told) + 8, len(told) + 16):
        with pytest.raises(ValueError, match="not a columns file"):
            read_header(told, size)


def test_a_checkpoint_that_is_none_is_named(small_config: Callable[..., Any]) -> None:
    from synfarm_trainer.objectives.registry import build_objective
    from synfarm_trainer.state import restore

    objective = build_objective(small_config(), 7, concepts=8)
    optimizer = torch.optim.AdamW(objective.student.parameters())
    with pytest.raises(ValueError, match=r"student\.safetensors is no safetensors file .*; its hash is right"):
        restore(objective, optimizer, {"student.safetensors": LIES["a header of 2^60 bytes"]})
