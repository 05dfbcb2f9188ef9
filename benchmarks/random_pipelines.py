"""Diffusion pipelines of known shapes with random weights: as fast as real ones, and nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

__all__ = ["Shape", "save_pipeline"]

Shape = Literal["tiny", "sd15"]

_UNETS: dict[str, dict[str, Any]] = {
    "tiny": {"sample_size": 16, "block_out_channels": (32, 96), "layers_per_block": 1, "cross_attention_dim": 64},
    "sd15": {
        "sample_size": 64,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "cross_attention_dim": 768,
    },
}
_VAES = {"tiny": (16, 32, 32), "sd15": (128, 256, 512, 512)}
_TEXTS: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "sd15": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
}


def save_pipeline(folder: Path, shape: Shape) -> None:
    """Write a StableDiffusionPipeline as safetensors. Its tokenizer knows single letters."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    channels, levels = _UNETS[shape]["block_out_channels"], _VAES[shape]
    deep = len(channels) - 1
    unet = UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D",) * deep + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * deep,
        **_UNETS[shape],
    )
    vae = AutoencoderKL(
        latent_channels=4,
        block_out_channels=levels,
        down_block_types=("DownEncoderBlock2D",) * len(levels),
        up_block_types=("UpDecoderBlock2D",) * len(levels),
        layers_per_block=2 if shape == "sd15" else 1,
        norm_num_groups=8,
        sample_size=_UNETS[shape]["sample_size"] * 2 ** (len(levels) - 1),
    )
    tokenizer = _tokenizer(folder / "words", CLIPTokenizer)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **_TEXTS[shape],
    )
    schedule = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=schedule,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)


def _tokenizer(folder: Path, kind: Any) -> Any:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    )
    return kind.from_pretrained(folder)
