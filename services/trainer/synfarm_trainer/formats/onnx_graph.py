"""ONNX: one file with graph and weights, for a batch of any size; needs onnx, onnxscript and onnxruntime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from synfarm_trainer.formats.agreement import FormatFailed

__all__ = ["NEEDED", "read_onnx", "write_onnx"]

NEEDED = ("onnx", "onnxscript", "onnxruntime")
_BIG = 1 << 30
"""Above this weights lie beside the graph: a protobuf holds 2 GiB."""


def write_onnx(network: nn.Module, side: int, file: Path, properties: dict[str, str]) -> list[Path]:
    """``images`` (n, 3, side, side), standardised float32, to ``features`` (n, width).

    Raises:
        FormatFailed: a package is missing, or torch cannot write the graph.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise FormatFailed(f"onnx needs {', '.join(missing)}: pip install 'synfarm[onnx]'")
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    example = torch.zeros(2, 3, side, side)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch itself will change; the graph is proven by its features
            program = torch.onnx.export(
                network,
                (example,),
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        program.model.metadata_props.update(properties)
        program.save(str(file), external_data=size > _BIG)
    except Exception as error:
        raise FormatFailed(f"torch cannot write this network as ONNX: {str(error)[:300]}") from error
    return sorted(path for path in file.parent.iterdir() if path.name.startswith(file.name))


def read_onnx(file: Path) -> Callable[[Tensor], Tensor]:
    """The graph as onnxruntime runs it on a CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0])

    return run
