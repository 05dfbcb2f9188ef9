"""A model's folder whose weights lie: the server says so and does not start."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from synfarm_llm_server.model.loading import load_model
from synfarm_llm_server.model.tiny import tiny_model
from synfarm_llm_server.model.weights import WeightsMissing
from synfarm_llm_server.settings import LlmSettings


@pytest.mark.parametrize("shape", [[1 << 40, 1 << 40], [0, (1 << 64) - 1], [1 << 38]])
def test_weights_whose_header_lies_are_told(tmp_path: Path, shape: list[int]) -> None:
    tiny_model().save_pretrained(tmp_path)
    header = json.dumps({"lm_head.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(WeightsMissing, match="cannot load SYNFARM_LLM_MODEL="):
        load_model(LlmSettings(model=str(tmp_path)))
