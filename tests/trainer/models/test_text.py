"""The text tower against the published model's code."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from synfarm_trainer.models.text import TextTower

WIDTH, CONTEXT, VOCABULARY, END, PADDING = 16, 9, 20, 18, 19


@pytest.fixture
def tower() -> TextTower:
    made = TextTower(WIDTH, 2, 4, context=CONTEXT, vocabulary=VOCABULARY, end=END).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    return made


@pytest.fixture
def texts() -> torch.Tensor:
    tokens = torch.randint(0, END, (3, CONTEXT), generator=torch.Generator().manual_seed(4))
    for row, end in enumerate((4, CONTEXT - 1, 1)):
        tokens[row, end] = END
        tokens[row, end + 1 :] = PADDING
    return tokens


def test_it_is_clips(tower: TextTower, texts: torch.Tensor) -> None:
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        hidden_act="quick_gelu",
        eos_token_id=END,
        bos_token_id=0,
        pad_token_id=PADDING,
    )
    names = {"tokens.weight": "embeddings.token_embedding.weight", "positions": "embeddings.position_embedding.weight"}
    parts = {
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "out": "self_attn.out_proj",
        "rise": "mlp.fc1",
        "fall": "mlp.fc2",
    }
    theirs: dict[str, torch.Tensor] = {}
    for name, value in tower.state_dict().items():
        if name in names:
            theirs[names[name]] = value
        elif name.startswith("norm."):
            theirs[f"final_layer_norm.{name[5:]}"] = value
        else:
            _, block, part, kind = name.split(".")
            layer = f"encoder.layers.{block}"
            if part == "qkv":
                for letter, rows in zip("qkv", value.chunk(3), strict=True):
                    theirs[f"{layer}.self_attn.{letter}_proj.{kind}"] = rows
            else:
                theirs[f"{layer}.{parts[part]}.{kind}"] = value
    model = CLIPTextModel(config).double().eval()
    prefix = "text_model." if any(name.startswith("text_model.") for name in model.state_dict()) else ""
    model.load_state_dict({prefix + name: value for name, value in theirs.items()})
    with torch.no_grad():
        torch.testing.assert_close(tower(texts), model(input_ids=texts).pooler_output, rtol=1e-9, atol=1e-9)


def test_what_stands_after_the_end_changes_nothing(tower: TextTower, texts: torch.Tensor) -> None:
    other = texts.clone()
    other[0, 6:] = 2
    torch.testing.assert_close(tower(other), tower(texts))
