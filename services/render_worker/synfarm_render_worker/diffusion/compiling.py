"""torch.compile by repeated blocks, with its results kept on disk, and the way back to eager.

What a restart finds below the cache folder: Triton kernels, the graphs that inductor made, and what autotuning chose,
by torch's own keys (code, shapes, GPU, versions). What it does again: tracing, a few seconds a block.
"""

from __future__ import annotations

import os
from pathlib import Path

from synfarm.telemetry import get_logger
from synfarm_render_worker.diffusion.adapters.protocol import FamilyAdapter

__all__ = ["compile_blocks", "failed_to_compile", "keep_below", "to_eager"]

_log = get_logger(__name__)

_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
_MORE_BLOCKS = {"ResnetBlock2D", "JointTransformerBlock"}
"""Repeated blocks that diffusers does not list: a UNet's and a VAE's convolutions (norm and activation become one
kernel), and Stable Diffusion 3's transformer."""
_GRAPHS = 64
"""Of one block's code: one for each resolution and width, twice (guided or not). Beyond torch's 8 it would go on eager
without a word."""


def keep_below(cache: Path) -> None:
    """Let inductor keep what it makes below ``cache``, unless the environment says where."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # torch writes its default, below /tmp, into the environment as soon as something asks for it.
    if os.environ.get(_FOLDER) in (None, default_cache_dir()):
        os.environ[_FOLDER] = str(cache / "inductor")


def compile_blocks(adapter: FamilyAdapter) -> int:
    """Mark the repeated blocks of denoiser and VAE for compilation, which happens when they are first called; how many.

    Shapes are static: the two of a job (guided or not) become two graphs, and no kernel asks for sizes.
    """
    import torch._dynamo  # loads sympy and half of torch: only where something is compiled

    torch._dynamo.config.recompile_limit = max(_GRAPHS, torch._dynamo.config.recompile_limit)
    found = 0
    for network in (adapter.denoiser, adapter.pipeline.vae.decoder):
        names = {*(getattr(network, "_repeated_blocks", None) or ()), *_MORE_BLOCKS}
        for module in network.modules():
            if type(module).__name__ in names:
                module.compile(dynamic=False)
                found += 1
    _log.info("blocks_compiled_when_first_used", blocks=found)
    return found


def to_eager(adapter: FamilyAdapter) -> None:
    """Undo ``compile_blocks``."""
    for network in (adapter.denoiser, adapter.pipeline.vae.decoder):
        for module in network.modules():
            module._compiled_call_impl = None


def failed_to_compile(error: BaseException) -> bool:
    """Whether it is the compiler's fault and eager might draw."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "triton"))
