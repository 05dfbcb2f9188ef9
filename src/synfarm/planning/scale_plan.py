"""The answer of ``synfarm plan``: each number with its unit in its name or docstring."""

from __future__ import annotations

from synfarm.contracts.base import Contract
from synfarm.planning.asked import PlanAsked
from synfarm.planning.spread import Spread

__all__ = ["DatasetSize", "Limit", "Making", "Requests", "ScalePlan", "Training"]


class DatasetSize(Contract):
    """What lies in the store in the end."""

    units: int
    captions_per_unit: int
    images: int
    objects: int
    image_bytes: float
    """Of one image."""
    shard_bytes: int
    caption_bytes: int
    commit_bytes: int
    manifest_bytes: int
    """Parts, one line a unit."""
    columns_bytes: int
    """Parts, one row a caption."""
    ended_bytes: int
    """The end record, which names the parts."""

    @property
    def bytes(self) -> int:
        return self.shard_bytes + self.caption_bytes + self.commit_bytes + self.manifest_bytes + self.columns_bytes


class Requests(Contract):
    """To the object store, a second, of all processes of a kind."""

    process: str
    put: float
    get: float
    head: float
    list: float


class Making(Contract):
    """The generation: captions and images, side by side."""

    draws: Spread
    """Generations of the language model."""
    prompt_tokens: Spread
    new_tokens: Spread
    llm_gpu_hours: Spread
    llm_gpus: int
    render_gpu_hours: Spread
    """With what is lost to preemptions and faults, and what they wait."""
    render_gpus: int
    unit_seconds: Spread
    """Of one unit on one render worker."""
    units_per_second: float
    """Of the whole farm, at the likely rates."""
    lost_share: float
    """Of the render workers' hours, that brings nothing: units begun for nothing, models loaded again."""
    hours: Spread
    """From the first caption to the last commit."""
    images_per_second: float
    upload_bytes_per_second: float
    captions_per_unit: int
    caption_seconds: float
    """Of one unit, while its requests wait for the language model."""
    units_in_flight: int
    """At most: the window."""
    units_wanted: float
    """So that no render worker waits; if they are more than the window, it sets the pace."""
    redis_bytes: int


class Training(Contract):
    """One run."""

    preset: str
    images: int
    """Seen, all epochs together."""
    epochs: float
    gpu_hours: Spread
    gpus: int
    hours: Spread
    images_per_second: float
    """Of all GPUs, at the likely rate."""
    read_bytes_per_second: float
    start_read_bytes: int
    """Columns and end record that all ranks read at the start."""
    start_cpu_seconds: float
    """Of each rank."""
    rank_memory_bytes: int
    """That the plan holds in each rank."""
    checkpoint_bytes: int
    checkpoint_seconds: float
    """Between two."""


class Limit(Contract):
    """Something that ends a farm's growth."""

    what: str
    planned: float
    bound: float
    unit: str
    share: float
    """Planned over bound: above 1 it breaks."""
    then: str
    """What is seen, and what to do."""
    source: str
    """Of the bound."""


class ScalePlan(Contract):
    """What a dataset and a training take."""

    asked: PlanAsked
    rates: dict[str, Spread]
    sources: dict[str, str]
    """Of the rates."""
    dataset: DatasetSize
    making: Making
    training: tuple[Training, ...]
    requests: tuple[Requests, ...]
    gpu_hours: Spread
    """Everything."""
    cost: Spread | None
    limits: tuple[Limit, ...]
    """The nearest first."""
    notes: tuple[str, ...]
