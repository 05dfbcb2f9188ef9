"""One function a format: what it writes into a folder, how to read it back, and how far features may then differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import timm
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from synfarm_trainer.formats.described import Described
from synfarm_trainer.formats.onnx_graph import read_onnx, write_onnx
from synfarm_trainer.models.frozen import Frozen

__all__ = ["FORMATS", "Written"]

Network = Callable[[Tensor], Tensor]

_SAME = 1e-6
"""Of formats that the same class of timm reads: a sum may come in another order, no more."""
_OTHER = 1e-4
"""Of another runtime in float32."""


@dataclass(frozen=True, slots=True)
class Written:
    files: tuple[str, ...]
    load: str
    """Lines of Python, run in the folder."""
    read: Callable[[], Network]
    """Reads the files as those lines do."""
    tolerance: float


def _timm(frozen: Frozen, described: Described, folder: Path) -> Written:
    save_file(_tensors(frozen), folder / "backbone.safetensors")
    told = {
        "builder": described.builder,
        "arguments": described.arguments,
        "input": {"size": described.side, "mean": described.mean, "std": described.std},
        "positions": described.positions,
        **frozen.described,
    }
    (folder / "backbone.json").write_text(json.dumps(told, indent=1) + "\n")
    load = (
        "import timm\nfrom safetensors.torch import load_file\n"
        f"model = {described.call}\n"
        'model.load_state_dict(load_file("backbone.safetensors"), strict=True)'
    )
    return Written(("backbone.safetensors", "backbone.json"), load, lambda: _strict(described, folder), _SAME)


def _strict(described: Described, folder: Path) -> Network:
    model: Any = timm.create_model(described.builder, pretrained=False, **described.arguments)
    model.load_state_dict(load_file(folder / "backbone.safetensors"), strict=True)
    return model.eval()  # type: ignore[no-any-return]


def _safetensors(frozen: Frozen, described: Described, folder: Path) -> Written:
    """One file that describes itself: the arguments are in its header."""
    file = folder / "backbone.safetensors"
    header = {
        "architecture": "timm.models.vision_transformer.VisionTransformer",
        "arguments": json.dumps(described.arguments),
        "input": json.dumps({"size": described.side, "mean": described.mean, "std": described.std}),
    }
    save_file(_tensors(frozen), file, metadata={**header, **_words(frozen, described)})
    load = (
        "import json\nfrom safetensors import safe_open\nfrom safetensors.torch import load_file\n"
        "from timm.models.vision_transformer import VisionTransformer\n"
        'with safe_open("backbone.safetensors", "pt") as file:\n'
        '    model = VisionTransformer(**json.loads(file.metadata()["arguments"]))\n'
        'model.load_state_dict(load_file("backbone.safetensors"))'
    )
    return Written((file.name,), load, lambda: _self_described(file), _SAME)


def _self_described(file: Path) -> Network:
    with safe_open(file, "pt") as opened:
        model: Any = VisionTransformer(**json.loads(opened.metadata()["arguments"]))
    model.load_state_dict(load_file(file))
    return model.eval()  # type: ignore[no-any-return]


def _huggingface(frozen: Frozen, described: Described, folder: Path) -> Written:
    (folder / "config.json").write_text(json.dumps(described.config(), indent=2) + "\n")
    save_file(_tensors(frozen), folder / "model.safetensors", metadata={"format": "pt"})
    load = 'import timm\nmodel = timm.create_model("local-dir:.", pretrained=True)'
    (folder / "README.md").write_text(_card(frozen, described, load))

    def read() -> Network:
        model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)
        return model.eval()  # type: ignore[no-any-return]

    return Written(("config.json", "model.safetensors", "README.md"), load, read, _SAME)


def _card(frozen: Frozen, described: Described, load: str) -> str:
    step = f", step {frozen.described['step']}" if frozen.described.get("step") is not None else ""
    return (
        "---\nlibrary_name: timm\ntags: [image-feature-extraction, synfarm]\n---\n"
        f"# Backbone of run {frozen.described['run']}{step}\n\n"
        f"A ViT that synfarm trained on synthetic captions and images: images of {described.side} pixels to "
        f"{described.width} features, the class token after the final norm. It has no classifier.\n\n"
        f"```python\n{load}\n```\n\nOr by transformers' wrapper of timm:\n\n"
        '```python\nfrom transformers import AutoModel\nmodel = AutoModel.from_pretrained(".")\n'
        "features = model(pixel_values=images).pooler_output\n```\n\n"
        f"Pixels in 0 to 1 are standardised by mean {list(described.mean)} and deviation {list(described.std)}.\n"
    )


def _onnx(frozen: Frozen, described: Described, folder: Path) -> Written:
    file = folder / "backbone.onnx"
    # timm's own class, the same at this size: a graph of ours may take another number of images for a constant.
    plain: Any = VisionTransformer(**described.arguments)
    plain.load_state_dict(frozen.module.state_dict())
    files = write_onnx(plain.eval(), described.side, file, _words(frozen, described))
    load = (
        'import onnxruntime\nsession = onnxruntime.InferenceSession("backbone.onnx")\n'
        f"# images: (n, 3, {described.side}, {described.side}), float32, standardised\n"
        'features = session.run(["features"], {"images": images})[0]'
    )
    return Written(tuple(path.name for path in files), load, lambda: read_onnx(file), _OTHER)


def _tensors(frozen: Frozen) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in frozen.module.state_dict().items()}


def _words(frozen: Frozen, described: Described) -> dict[str, str]:
    """What is known of the network, as text: headers hold nothing else."""
    told = {**frozen.described, "mean": list(described.mean), "std": list(described.std), "side": described.side}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}


FORMATS = MappingProxyType({"timm": _timm, "safetensors": _safetensors, "huggingface": _huggingface, "onnx": _onnx})
