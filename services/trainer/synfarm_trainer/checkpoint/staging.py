"""A rank's share of the state in host memory, laid out as the safetensors files that it becomes.

safetensors' own ``save`` makes the file's bytes twice, beside the tensors; here what was copied off the device is what
goes up. The form of such a file: eight bytes with the header's length, the header as JSON, the tensors' bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from synfarm_trainer.shares import PARTS, file_of

__all__ = ["Staging"]

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8
"""Bytes: of headers, so that no tensor lies across its own unit."""


class Staging:
    """One piece of host memory, page-locked if a GPU fills it, that each checkpoint uses again."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    @torch.no_grad()
    def fill(self, share: Mapping[str, Tensor], rank: int, world: int) -> dict[str, memoryview]:
        """Files by name, views of this memory, good until the next call; the tensors are free to move again.

        Args:
            share: by ``<part>.<name>``, of any device.

        Raises:
            KeyError: a dtype that safetensors files do not have.
        """
        files = {part: _of_part(part, share) for part in PARTS}
        headers = {part: _header(tensors) for part, tensors in files.items() if tensors}
        sizes = {part: len(header) + _bytes(files[part]) for part, header in headers.items()}
        self._reserve(sum(map(_padded, sizes.values())), pinned=any(tensor.is_cuda for tensor in share.values()))
        found: dict[str, memoryview] = {}
        at = 0
        for part, header in headers.items():
            file = self._memory[at : at + sizes[part]]
            file[: len(header)] = torch.frombuffer(bytearray(header), dtype=torch.uint8)
            place = len(header)
            for tensor in files[part].values():
                target = file[place : place + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
                target.copy_(tensor, non_blocking=True)
                place += tensor.nbytes
            found[file_of(part, rank, world)] = file.numpy().data
            at += _padded(sizes[part])
        for device in {tensor.device for tensor in share.values() if tensor.is_cuda}:
            torch.cuda.current_stream(device).synchronize()
        return found

    def _reserve(self, size: int, *, pinned: bool) -> None:
        if self._memory.numel() < size or self._memory.is_pinned() < pinned:
            # The old piece first: never two of them.
            self._memory = torch.empty(0, dtype=torch.uint8)
            self._memory = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)


def _of_part(part: str, share: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A part's tensors by their own names, wide dtypes first, so that each is aligned."""
    named = {name.removeprefix(f"{part}."): tensor for name, tensor in share.items() if name.startswith(f"{part}.")}
    return dict(sorted(named.items(), key=lambda item: (-item[1].element_size(), item[0])))


def _header(tensors: Mapping[str, Tensor]) -> bytes:
    told, at = {}, 0
    for name, tensor in tensors.items():
        offsets = [at, at + tensor.nbytes]
        told[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        at = offsets[1]
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
