"""Pipelines of each family with random weights, from configs alone: what tests and benchmarks draw with.

Their pictures are noise, their shapes and costs are real. No hub, no download; the tokenizers know letters and pairs of
letters. ``sd15_shaped`` costs what Stable Diffusion 1.5 costs; ``sd_bench`` is what one CPU core draws in a fraction of
a second; the ``tiny_*`` ones have a few ten thousand weights each.
"""

from __future__ import annotations

import json
import string
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

__all__ = [
    "TINY",
    "sd15_shaped",
    "sd_bench",
    "tiny_flux",
    "tiny_lcm",
    "tiny_sd",
    "tiny_sd3",
    "tiny_sdxl",
]

_START, _END = "<|startoftext|>", "<|endoftext|>"
_NO_CHECKER: Mapping[str, Any] = MappingProxyType(
    {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
)


def _ready(pipeline: Any) -> Any:
    """As a loaded one is: without dropout."""
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipeline


def _clip_tokenizer(length: int) -> tuple[Any, int, int]:
    """(tokenizer, id of its start, id of its end)."""
    letters = list(string.ascii_lowercase + string.digits)
    ends = [f"{letter}</w>" for letter in letters]
    pairs = [(a, b) for a in letters for b in (*letters, *ends)]
    vocabulary = {token: i for i, token in enumerate([*letters, *ends, *(a + b for a, b in pairs), _START, _END])}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        merges = "\n".join(f"{a} {b}" for a, b in pairs)
        (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
        kind = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "pad_token": _END}
        (folder / "tokenizer_config.json").write_text(json.dumps(kind))
        return CLIPTokenizer.from_pretrained(folder), vocabulary[_START], vocabulary[_END]


def _t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(letter, -3.0) for letter in string.ascii_lowercase + string.digits]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def _clip(width: int, layers: int, length: int, *, kind: Any = CLIPTextModel, tokens: int = 0, **more: Any) -> Any:
    tokenizer, start, end = _clip_tokenizer(length)
    config = CLIPTextConfig(
        vocab_size=max(tokens, len(tokenizer)),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(2, width // 64),
        max_position_embeddings=length,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
        **more,
    )
    return tokenizer, kind(config)


def _t5(width: int) -> tuple[Any, Any]:
    tokenizer = _t5_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=width // 2, d_ff=2 * width, num_layers=1, num_heads=2
    )
    return tokenizer, T5EncoderModel(config)


def _vae(*widths: int, channels: int = 4, layers: int = 1, groups: int = 4, **more: Any) -> Any:
    return AutoencoderKL(
        latent_channels=channels,
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        norm_num_groups=groups,
        sample_size=32,
        **more,
    )


def _tiny_unet(**more: Any) -> Any:
    shape: dict[str, Any] = {
        "sample_size": 16,
        "layers_per_block": 1,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**shape, **more})


def _ddim() -> Any:
    """Stable Diffusion 1.5's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def tiny_sd(seed: int = 0) -> Any:
    """Stable Diffusion 1.x and 2.x in small: 32 px, prompts of 16 tokens."""
    torch.manual_seed(seed)
    tokenizer, encoder = _clip(16, 1, 16)
    return _ready(
        StableDiffusionPipeline(
            vae=_vae(8, 8),
            text_encoder=encoder,
            tokenizer=tokenizer,
            unet=_tiny_unet(),
            scheduler=_ddim(),
            **_NO_CHECKER,
        )
    )


def tiny_lcm(seed: int = 0) -> Any:
    """A latent consistency model: the guidance goes into its network, and its steps draw noise."""
    torch.manual_seed(seed)
    tokenizer, encoder = _clip(16, 1, 16)
    return _ready(
        LatentConsistencyModelPipeline(
            vae=_vae(8, 8),
            text_encoder=encoder,
            tokenizer=tokenizer,
            unet=_tiny_unet(time_cond_proj_dim=8),
            scheduler=LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
            **_NO_CHECKER,
        )
    )


def tiny_sdxl(seed: int = 0) -> Any:
    """Stable Diffusion XL in small: two text encoders, sizes as conditions, a VAE that wants float32."""
    torch.manual_seed(seed)
    tokenizer, encoder = _clip(16, 2, 16)
    tokenizer_2, encoder_2 = _clip(16, 2, 16, kind=CLIPTextModelWithProjection, projection_dim=16)
    unet = _tiny_unet(
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 16,
    )
    return _ready(
        StableDiffusionXLPipeline(
            vae=_vae(8, 8, force_upcast=True),
            text_encoder=encoder,
            text_encoder_2=encoder_2,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer_2,
            unet=unet,
            scheduler=_ddim(),
        )
    )


def tiny_sd3(seed: int = 0) -> Any:
    """Stable Diffusion 3 in small: three text encoders, a transformer, flow matching."""
    torch.manual_seed(seed)
    tokenizer, encoder = _clip(16, 2, 16, kind=CLIPTextModelWithProjection, projection_dim=16)
    tokenizer_2, encoder_2 = _clip(16, 2, 16, kind=CLIPTextModelWithProjection, projection_dim=16)
    tokenizer_3, encoder_3 = _t5(32)
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
    )
    return _ready(
        StableDiffusion3Pipeline(
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=_vae(8, 8, shift_factor=0.06, scaling_factor=1.5),
            text_encoder=encoder,
            tokenizer=tokenizer,
            text_encoder_2=encoder_2,
            tokenizer_2=tokenizer_2,
            text_encoder_3=encoder_3,
            tokenizer_3=tokenizer_3,
        )
    )


def tiny_flux(seed: int = 0, *, guidance_embeds: bool = True) -> Any:
    """FLUX in small: packed latents; the guidance goes into its network, unless ``guidance_embeds`` is False."""
    torch.manual_seed(seed)
    tokenizer, encoder = _clip(16, 1, 16)
    tokenizer_2, encoder_2 = _t5(32)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 4, 8),
    )
    return _ready(
        FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=_vae(8, 8, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=encoder,
            tokenizer=tokenizer,
            text_encoder_2=encoder_2,
            tokenizer_2=tokenizer_2,
            transformer=transformer,
        )
    )


def sd15_shaped(seed: int = 0) -> Any:
    """Stable Diffusion 1.5 at its full size (860 M weights in the network, 84 M in the VAE, 123 M in the encoder)."""
    torch.manual_seed(seed)
    tokenizer, encoder = _clip(768, 12, 77, tokens=49408)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = _vae(128, 256, 512, 512, layers=2, groups=32)
    return _ready(
        StableDiffusionPipeline(
            vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=_ddim(), **_NO_CHECKER
        )
    )


def sd_bench(seed: int = 0) -> Any:
    """Stable Diffusion's blocks at a size that one CPU core draws in a fraction of a second: 64 px, 10 guided steps."""
    torch.manual_seed(seed)
    tokenizer, encoder = _clip(64, 2, 77)
    unet = UNet2DConditionModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(32, 96),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=8,
    )
    vae = _vae(16, 32, 32, groups=8)
    return _ready(
        StableDiffusionPipeline(
            vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=_ddim(), **_NO_CHECKER
        )
    )


TINY: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {"sd": tiny_sd, "lcm": tiny_lcm, "sdxl": tiny_sdxl, "sd3": tiny_sd3, "flux": tiny_flux}
)
"""The tiny pipelines by family."""
