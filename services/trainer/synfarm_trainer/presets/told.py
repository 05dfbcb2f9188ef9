"""A resolved configuration field by field with each value's source, and what one of its steps takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synfarm.contracts.presets import ConfigField, PresetView, StepCounts
from synfarm_trainer.config import SIZES, TrainConfig, family_fields, to_dict
from synfarm_trainer.config.families import FAMILY_SOURCES
from synfarm_trainer.overrides import apply_overrides
from synfarm_trainer.presets.default_sources import default_source
from synfarm_trainer.presets.registry import built, preset_of

__all__ = ["step_counts", "tell"]

_REQUEST = "request: an override"


def tell(name: str, overrides: Mapping[str, object]) -> PresetView:
    """What the preset with its overrides comes to.

    Raises:
        ValueError: as of :func:`~synfarm_trainer.presets.resolve`.
    """
    preset = preset_of(name)
    begun, chosen = TrainConfig(), built(name)
    sources = {of: _default(begun, of) for of in _values(begun)}
    sources = _after(sources, begun, {of: setting.source for of, setting in preset.settings.items()}, chosen)
    config = apply_overrides(chosen, overrides)
    sources = _after(sources, chosen, dict.fromkeys(overrides, _REQUEST), config)
    return PresetView(
        name=name,
        about=preset.about,
        fields=tuple(ConfigField(name=of, value=value, source=sources[of]) for of, value in _values(config).items()),
        per_step=step_counts(config),
        steps=config.schedule.steps,
        peak_learning_rate=config.optim.lr,
    )


def step_counts(config: TrainConfig) -> StepCounts:
    """Of the global batch, whatever the number of ranks."""
    data, local_side = config.data, config.local_crops.size // config.model.patch
    images = data.captions_per_batch * data.views
    crops, local_crops = images * data.crops, images * config.local_count
    cells = data.captions_per_batch // data.cell_captions
    return StepCounts(
        captions=data.captions_per_batch,
        images=images,
        global_crops=crops,
        local_crops=local_crops,
        tokens=crops * (1 + config.patches) + local_crops * (1 + local_side**2),
        masked_tokens=cells * sum(config.masked_tokens_of_cell),
    )


def _values(config: TrainConfig) -> dict[str, Any]:
    """Every field's value by its dotted name."""
    tree = to_dict(config).items()
    return {f"{section}.{field}": value for section, fields in tree for field, value in fields.items()}


def _default(config: TrainConfig, name: str) -> str:
    section, _, field = name.partition(".")
    return default_source(type(getattr(config, section)), field)


def _after(
    sources: Mapping[str, str], before: TrainConfig, given: Mapping[str, str], after: TrainConfig
) -> dict[str, str]:
    """Sources once settings were applied; ``given`` has those of the settings by name."""
    found = dict(sources)
    if after.objective.name != before.objective.name:
        widths = {SIZES[field]: source for field, source in _objective(sources).items() if field in SIZES}
        found = {name: source for name, source in sources.items() if not name.startswith("objective.")}
        for name in _values(after):
            section, _, field = name.partition(".")
            if section == "objective":
                found[name] = widths.get(SIZES.get(field, ""), "") or _default(after, name)
    if "augment.name" in given:
        found.update(dict.fromkeys(family_fields(after.augment.name), FAMILY_SOURCES[after.augment.name]))
    return {**found, **given}


def _objective(sources: Mapping[str, str]) -> dict[str, str]:
    return {name.partition(".")[2]: source for name, source in sources.items() if name.startswith("objective.")}
