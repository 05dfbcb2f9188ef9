"""A CLIP model and a safety checker of a few thousand random weights, in folders as a worker has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LIMIT, SIDE = 12, 16


def clip_config() -> Any:
    from transformers import CLIPConfig

    width = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 54, "max_position_embeddings": LIMIT, "bos_token_id": 52, "eos_token_id": 53, **width}
    return CLIPConfig(text_config=text, vision_config={"image_size": SIDE, "patch_size": 8, **width}, projection_dim=8)


@pytest.fixture(scope="session")
def score_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of models: ``clip``, ``checker``, and ``pipeline/safety_checker``."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    folder = root / "clip"
    CLIPModel(clip_config()).save_pretrained(folder)
    words = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(
        folder
    )
    checker = StableDiffusionSafetyChecker(clip_config())
    checker.concept_embeds.data.normal_()
    checker.concept_embeds_weights.data.uniform_(0.1, 0.3)
    checker.save_pretrained(root / "checker")
    checker.save_pretrained(root / "pipeline" / "safety_checker")
    return root
