"""The whole tree, the rules between its sections, and the counts that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from synfarm_trainer.config.checks import need
from synfarm_trainer.config.data import AugmentConfig, DataConfig, LocalCropsConfig, MaskConfig
from synfarm_trainer.config.model import ModelConfig
from synfarm_trainer.config.objectives import ObjectiveConfig, SynclrConfig
from synfarm_trainer.config.optim import EmaConfig, OptimConfig, ScheduleConfig
from synfarm_trainer.config.running import CheckpointConfig, EvalConfig, ExecutionConfig

__all__ = ["TrainConfig"]


def _no_multiple(size: int, patch: int) -> str:
    """What is wrong with a crop of ``size`` pixels, with the multiples around it as the cure, the nearer one first."""
    below = size // patch * patch
    near = sorted((side for side in (below, below + patch) if side), key=lambda side: abs(side - size))
    return f"{size} is no multiple of model.patch ({patch}); use {' or '.join(map(str, near))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A run's configuration; defaults are the paper's for ViT-B/16 where it states them."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    local_crops: LocalCropsConfig = field(default_factory=LocalCropsConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=SynclrConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    def __post_init__(self) -> None:
        patch, cell = self.model.patch, self.data.cell_captions
        for name, size in (("augment.size", self.augment.size), ("local_crops.size", self.local_crops.size)):
            used = name == "augment.size" or self.uses_local_crops
            need(not used or size % patch == 0, name, _no_multiple(size, patch))
        self._check_positives()
        batch, micro = self.data.captions_per_batch, self.execution.micro_captions
        need(batch % cell == 0, "data.captions_per_batch", f"must be a multiple of data.cell_captions ({cell})")
        need(micro % cell == 0, "execution.micro_captions", f"must be a multiple of data.cell_captions ({cell})")
        if self.uses_masks:
            self._check_masks()
        whole = micro == 0 or not self.objective.needs_whole_share
        cure = "set it to 0, or objective.head_norm to layer"
        need(whole, "execution.micro_captions", f"BatchNorm needs a rank's whole share in one pass; {cure}")
        self.objective.check(self.data, self.mask, self.model)
        if self.model.drop_path:
            self._check_drops()

    def _check_positives(self) -> None:
        data, objective = self.data, self.objective
        need(
            data.views >= objective.least_views,
            "data.views",
            f"with one image a caption no crop of {objective.name} has a positive (its own is excluded); use at least "
            f"{objective.least_views}",
        )
        need(
            data.crops >= objective.least_crops,
            "data.crops",
            f"{objective.name} compares crops of one image; use at least {objective.least_crops}",
        )

    def _check_masks(self) -> None:
        tokens = self.masked_tokens_of_cell
        need(
            bool(tokens),
            "mask.images",
            f"{self.mask.images} of the {self.cell_images} images of a cell is less than one; raise it or "
            "data.cell_captions",
        )
        need(
            min(tokens) > 0,
            "mask.ratio",
            f"{self.mask.ratio[0]} of an image's {self.patches} patches is less than one; raise it or augment.size",
        )

    def _check_drops(self) -> None:
        rate = f"{self.model.drop_path} of the {self.cell_images} images of a cell"
        dropped = self.dropped_of_cell(self.cell_images)[-1]
        need(dropped > 0, "model.drop_path", f"{rate} is less than half an image; raise it or data.cell_captions")
        need(
            dropped < self.cell_images,
            "model.drop_path",
            f"{rate} is all of them; lower it or raise data.cell_captions",
        )

    @property
    def uses_masks(self) -> bool:
        """Without there are no masks, no patch heads and no mask token."""
        return self.objective.uses_masks

    @property
    def uses_local_crops(self) -> bool:
        """Without no local crop is cut."""
        return self.local_crops.count > 0 and self.objective.uses_local_crops

    @property
    def local_count(self) -> int:
        """Local crops of an image that are really cut."""
        return self.local_crops.count if self.uses_local_crops else 0

    @property
    def patches(self) -> int:
        """Patch tokens of a global crop."""
        return (self.augment.size // self.model.patch) ** 2

    @property
    def cell_images(self) -> int:
        """Global crops of a cell."""
        return self.data.cell_captions * self.crops_of_caption

    @property
    def crops_of_caption(self) -> int:
        """Global crops of a caption in a batch."""
        return self.data.views * self.data.crops

    @property
    def masked_tokens_of_cell(self) -> tuple[int, ...]:
        """Tokens masked in each masked image of a cell: the same counts in every cell, so shapes never change.

        With a range of ratios the masked images of a cell take its strata's middles, one each.
        """
        if not self.uses_masks:
            return ()
        images = int(self.cell_images * self.mask.images)
        low, high = self.mask.ratio
        return tuple(int((low + (high - low) * (i + 0.5) / images) * self.patches) for i in range(images))

    def dropped_of_cell(self, crops: int) -> tuple[int, ...]:
        """Of ``crops`` crops of a cell, how many skip each of a block's two branches, by block.

        The rate rises linearly from 0 to ``model.drop_path`` over depth (method section 3.3); counts are rounded.
        """
        last = max(1, self.model.depth - 1)
        return tuple(int(self.model.drop_path * block / last * crops + 0.5) for block in range(self.model.depth))
