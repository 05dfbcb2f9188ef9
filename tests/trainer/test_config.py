"""The configuration tree, its presets and overrides."""

from __future__ import annotations

import subprocess
import sys

import pytest

from synfarm_trainer.config import from_dict, to_dict
from synfarm_trainer.presets import preset_names, resolve


def test_presets_survive_the_way_through_json_values() -> None:
    for name in preset_names():
        config = resolve(name, {"optim.lr": 1, "augment.scale": [0.5, 1]})
        assert from_dict(to_dict(config)) == config
        assert config.optim.lr == 1.0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optim.lrr": 1}, r"optim\.lrr: no such field; did you mean optim\.lr"),
        ({"lr": 1}, r"did you mean optim\.lr"),
        ({"optim.lr": "0.1"}, r"optim\.lr: must be of type float"),
        ({"data.views": True}, r"data\.views: must be of type int"),
        ({"data.views": 1}, r"data\.views: .* at least 2"),
        ({"augment.size": 50}, r"augment\.size: 50 is no multiple of model\.patch \(8\)"),
        ({"augment.scale": [0.5]}, r"augment\.scale: must be a list of 2 numbers"),
        ({"objective.name": "simcl"}, r"objective\.name: no objective 'simcl'; did you mean simclr"),
        ({"optim.lr": float("nan")}, r"optim\.lr: must be a finite number"),
    ],
)
def test_a_wrong_override_is_named(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve("tiny", overrides)


def test_an_unknown_preset_gets_near_names() -> None:
    with pytest.raises(ValueError, match="did you mean tiny"):
        resolve("tinny")


def test_the_papers_preset_has_the_papers_numbers() -> None:
    config = resolve("vit-b16")
    assert (config.data.captions_per_batch, config.data.views, config.local_count) == (8192, 4, 4)
    assert (config.model.width, config.model.depth, config.model.patch, config.model.drop_path) == (768, 12, 16, 0.1)
    assert (config.objective.temperature, config.objective.prototypes) == (0.08, 65_536)
    assert (config.optim.lr, config.optim.weight_decay, config.optim.weight_decay_end) == (2e-3, 0.04, 0.2)
    assert (config.schedule.steps, config.schedule.warmup_steps, config.ema.start) == (500_000, 80_000, 0.994)
    assert set(config.masked_tokens_of_cell) == {98}
    assert len(config.masked_tokens_of_cell) == config.cell_images / 2
    assert config.dropped_of_cell(config.cell_images) == (0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3)


def test_a_missing_or_unknown_field_is_refused() -> None:
    tree = to_dict(resolve("tiny"))
    with pytest.raises(ValueError, match=r"optim\.eps: missing"):
        from_dict({**tree, "optim": {k: v for k, v in tree["optim"].items() if k != "eps"}})
    with pytest.raises(ValueError, match="extra: no such field"):
        from_dict({**tree, "extra": 1})


def test_resolving_loads_no_torch() -> None:
    code = "import sys; from synfarm_trainer.presets import resolve; resolve('tiny'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
