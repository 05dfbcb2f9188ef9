"""Presets: what the paper's tables say, a source for every value, and what a request makes of them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from synfarm_trainer.config import OBJECTIVES, TrainConfig, to_dict
from synfarm_trainer.presets import preset_names, preset_of, resolve
from synfarm_trainer.presets.default_sources import default_source
from synfarm_trainer.presets.preset import ORIGINS
from synfarm_trainer.presets.told import step_counts, tell

PAPER = ("synclr-b16-paper", "synclr-b16-release", "synclr-l14-paper")
ROWS = {
    "table2": {"stablerep", "synclr"},
    "table4": {"stablerep", "ema", "ema-ibot", "ema-multicrop", "all"},
    "table5": {"supce", "simclr", "multi-positive"},
    "table10": {"synclr", "clip"},
}


def test_the_presets_of_the_paper_are_there() -> None:
    rows = {f"{table}-{row}" for table, found in ROWS.items() for row in found}
    assert {"tiny", "small", "vit-b16", *PAPER, *rows} == set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_every_value_of_a_preset_has_a_source_of_its_own(name: str) -> None:
    """What differs from the default is what the preset, or a family that it names, sets: no default's source."""
    settings = preset_of(name).settings
    config, told = resolve(name), {field.name: field for field in tell(name, {}).fields}
    assert {of: field.value for of, field in told.items()} == {
        f"{section}.{of}": value for section, values in to_dict(config).items() for of, value in values.items()
    }
    default = TrainConfig()
    families = {"augment.", "local_crops."} if "augment.name" in settings else set()
    for of, field in told.items():
        assert field.source.split(":")[0] in ORIGINS, of
        assert len(field.source.partition(": ")[2]) > 3, of
        section, _, leaf = of.partition(".")
        kind = type(getattr(default, section)) if section != "objective" else type(config.objective)
        if of in settings:
            assert field.source == settings[of].source
        elif field.value != to_dict(kind())[leaf]:
            assert any(of.startswith(family) for family in families), f"{name}: {of} has no source"


@pytest.mark.parametrize("section", [item.name for item in fields(TrainConfig) if item.name != "objective"])
def test_every_default_has_a_source(section: str) -> None:
    kind = type(getattr(TrainConfig(), section))
    assert all(default_source(kind, item.name).split(":")[0] in ORIGINS for item in fields(kind))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_default_of_an_objective_has_a_source(objective: str) -> None:
    kind = OBJECTIVES[objective]
    assert all(default_source(kind, item.name).split(":")[0] in ORIGINS for item in fields(kind))


def test_a_changed_default_does_not_take_the_source_of_its_base() -> None:
    class Mended(OBJECTIVES["dino"]):  # type: ignore[misc,name-defined]
        targets: str = "sinkhorn"

    with pytest.raises(KeyError, match=r"Mended\.targets has no source"):
        default_source(Mended, "targets")


def test_the_final_models_have_the_papers_numbers() -> None:
    base, large = resolve("synclr-b16-paper"), resolve("synclr-l14-paper")
    for config in (base, large):
        counts = step_counts(config)
        assert (counts.captions, counts.images, counts.global_crops, counts.local_crops) == (8192, 32768, 32768, 131072)
        assert (config.schedule.steps, config.schedule.warmup_steps, config.augment.name) == (500_000, 80_000, "paper")
        assert (config.objective.temperature, config.objective.prototypes) == (0.08, 65_536)
    model = large.model
    assert (model.patch, model.width, model.depth, model.heads, model.drop_path) == (14, 1024, 24, 16, 0.4)
    assert (large.optim.lr, large.local_crops.size, set(large.masked_tokens_of_cell)) == (1.5e-3, 98, {128})
    assert step_counts(base).tokens == 32768 * 197 + 131072 * 37
    assert step_counts(base).masked_tokens == 32768 // 2 * 98
    assert step_counts(large).tokens == 32768 * 257 + 131072 * 50


def test_the_release_has_its_readmes_numbers() -> None:
    config = resolve("synclr-b16-release")
    assert (config.data.captions_per_batch, config.objective.prototypes, config.objective.temperature) == (
        2048,
        8192,
        0.1,
    )
    optim = config.optim
    assert (optim.lr, optim.beta2, optim.weight_decay, optim.weight_decay_end) == (2.4e-3, 0.98, 0.1, 0.1)
    assert optim.lr == pytest.approx(1.5e-4 * (2048 * 4 / 2) / 256)
    epoch = 10_000_000 / 2048
    assert config.schedule.steps == int(15 * epoch)
    assert config.schedule.warmup_steps == int(0.5 * epoch)


def test_the_rows_of_table_4_differ_by_its_switches_alone() -> None:
    rows = {row: to_dict(resolve(f"table4-{row}")) for row in ROWS["table4"]}
    assert rows.pop("stablerep")["objective"]["name"] == "stablerep"
    switches = {"ema": (0, 0), "ema-ibot": (1, 0), "ema-multicrop": (0, 1), "all": (1, 1)}
    for row, (ibot, crops) in switches.items():
        objective = rows[row]["objective"]
        assert (objective.pop("ibot_weight"), objective.pop("local_weight")) == (ibot, crops)
        assert rows[row]["local_crops"].pop("count") == 4 * crops
    assert all(rows[row] == rows["all"] for row in rows)


def test_tables_that_share_a_cell_share_its_configuration() -> None:
    """As method and tables have it: T2 on 'ours' is T4's first and last row, T5's last is T2's on IN+OurBG+LLM."""
    assert resolve("table2-synclr") == resolve("table4-all")
    assert resolve("table2-stablerep") == resolve("table4-stablerep") == resolve("table5-multi-positive")
    assert resolve("table10-synclr") == resolve("synclr-b16-paper")


def test_the_rows_of_a_table_see_as_many_crops_a_step() -> None:
    for table in ("table4", "table5"):
        assert {step_counts(resolve(f"{table}-{row}")).global_crops for row in ROWS[table]} == {8192}
    assert step_counts(resolve("table10-clip")).captions == step_counts(resolve("table10-clip")).images == 32_768


def test_overrides_are_told_with_what_they_bring_along() -> None:
    view = tell("small", {"objective.name": "dino", "data.crops": 2, "augment.name": "dinov2", "optim.lr": 1})
    found = {field.name: field for field in view.fields}
    assert (found["optim.lr"].source, view.peak_learning_rate) == ("request: an override", 1.0)
    assert found["objective.name"].source.startswith("request:")
    assert found["objective.prototypes"].source == preset_of("small").settings["objective.prototypes"].source
    assert found["objective.prototypes"].value == 1024
    assert found["objective.center_momentum"].source.startswith("literature: DINO")
    assert found["augment.variants"].source.startswith("literature: DINOv2")
    assert found["data.views"].source.startswith("paper:")
    assert view.per_step.global_crops == 64 * 4 * 2
