"""What a batch is made of: captions, views, crops and masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import later, need

__all__ = ["MOST_FETCHES", "AugmentConfig", "DataConfig", "LocalCropsConfig", "MaskConfig"]

MOST_FETCHES = 1024
"""Requests that one rank may have in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What is read, in which batches, and how much damage is borne."""

    captions_per_batch: int = 32
    """The global batch; fixed for the run whatever the number of ranks."""
    cell_captions: int = 8
    """Masks and dropped branches are drawn in fixed counts for each such run of captions, so that shapes never change.
    Ranks and micro-batches hold whole cells: a small cell divides more freely, a large one rounds a rate less."""
    views: int = 4
    """Images of a caption in a batch, drawn without replacement."""
    crops: int = later(1)
    """Global crops of an image; with one, the other images of its caption are its positives (paper)."""
    held_out: float = 0.2
    """Share of each concept's captions that is never trained on."""
    drop_near_duplicates: bool = later(False)
    """Whether only the first is used of captions of one concept that are nearly the same text, whatever their units
    and jobs."""
    min_scores: Mapping[str, float] = later({})
    """Least value of scores in the commits' rows, by name: ``{"second": 1}`` keeps captions that take up their
    background. A caption that a score does not concern is kept."""
    max_scores: Mapping[str, float] = later({})
    """Largest value of scores, likewise: ``{"nsfw": 0}`` leaves out captions with an image that a safety checker would
    have hidden."""
    concepts: tuple[str, ...] = later(())
    """Concepts that are trained on, by name or by patterns with ``*`` and ``?``; none: all."""
    templates: tuple[str, ...] = later(())
    """Templates that are trained on (``c``, ``c,bg``, ``c,rel`` …), likewise."""
    block_shards: int = 64
    """Shards whose groups are shuffled together; also how many shards are open at a time."""
    threads: int = 1
    cutting: Literal["plain", "compiled"] = later("plain")
    """How these threads cut crops: with Pillow and numpy, or in loops that numba compiles: the same bits at a fifth of
    the cost (docs/measurements.md), for half a second at each start and some ten at the first one on a machine."""
    prefetch_steps: int = 2
    cache_mib: int = 512
    """Bound of the shards that one rank keeps in memory: all of them, or those that its disk does not take."""
    cache_disk_mib: int = later(0)
    """Bound of the shards that a node keeps on its disk, for all ranks and runs there; 0 for none. The folder is the
    machine's choice (``SYNFARM_TRAINER_CACHE_DIR``)."""
    fetch_threads: int = later(0)
    """Requests to the store that one rank has in flight for the positions that come; 0: groups are fetched when
    ``prefetch_steps`` wants them, by the threads that decode them."""
    fetch_ahead_mib: int = later(1024)
    """Bound of what these requests ask for before its step is over, in memory where groups are read alone; of whole
    shards at most half of the cache."""
    max_refill_rate: float = 0.01
    """Share of samples replaced because of damage at rest above which the run stops."""
    refill_allowance: int = 16
    """Replacements borne whatever their share, so that one bad image does not end a young run."""

    def __post_init__(self) -> None:
        need(self.captions_per_batch >= 2, "data.captions_per_batch", "needs at least 2 captions to contrast")
        need(self.cell_captions >= 1, "data.cell_captions", "must be at least 1")
        need(self.views >= 1, "data.views", "must be at least 1")
        need(1 <= self.crops <= 16, "data.crops", "must be in 1 to 16")
        need(0 < self.held_out < 1, "data.held_out", "must lie strictly between 0 and 1")
        need(self.block_shards >= 1, "data.block_shards", "must be at least 1")
        need(1 <= self.threads <= 256, "data.threads", "must be in 1 to 256")
        need(1 <= self.prefetch_steps <= 64, "data.prefetch_steps", "must be in 1 to 64")
        need(self.cache_mib >= 1, "data.cache_mib", "must be at least 1")
        need(self.cache_disk_mib >= 0, "data.cache_disk_mib", "must not be negative; 0 is no cache on disk")
        need(0 <= self.fetch_threads <= MOST_FETCHES, "data.fetch_threads", f"must be in 0 to {MOST_FETCHES}")
        need(self.fetch_ahead_mib >= 1, "data.fetch_ahead_mib", "must be at least 1")
        need(0 <= self.max_refill_rate <= 1, "data.max_refill_rate", "must be in 0 to 1")
        need(self.refill_allowance >= 0, "data.refill_allowance", "must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """The global crop (method section 3.2): downsample, resized crop, flip, jitter, gray, blur, solarize."""

    name: Literal["synclr-release", "paper", "stablerep", "stablerep-weak", "dinov2"] = later("synclr-release")
    """The family that the other fields began from. A request that names it sets them all (:mod:`.families`), but for
    those that it names too and for ``size``."""
    size: int = 224
    scale: tuple[float, float] = (0.32, 1.0)
    """Area of the crop as a share of the image; (0.14, 1.0) where there are no local crops."""
    ratio: tuple[float, float] = (0.75, 4 / 3)
    interpolation: Literal["bicubic", "bilinear"] = later("bicubic")
    """Of the resized crop, antialiased."""
    downsample: float = later(0.0)
    """Probability that a crop is cut from the image made small and brought back to its size (bilinear, antialiased)."""
    downsample_sides: tuple[int, int] = later((64, 128))
    """Short sides in pixels that it is made small to, equally often; one that the image does not exceed changes
    nothing."""
    flip: float = 0.5
    jitter: float = 0.8
    """Probability of colour jitter; the next four are its strengths."""
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    gray: float = 0.2
    variants: Literal["coin", "alternate"] = later("coin")
    """How a global crop comes to be of variant A or B: by a fair coin, or in turn over the global crops of a caption,
    from a drawn start: with ``data.crops`` 2 each image has one of either."""
    blur_form: Literal["kernel9", "pillow"] = later("kernel9")
    """A true Gaussian cut off at 9 taps, or Pillow's three box blurs; sigma is uniform in 0.1 to 2 in both."""
    blur_a: float = 1.0
    """Probability of blur in variant A."""
    blur_b: float = 0.1
    solarize_b: float = 0.2
    """Probability of solarize in variant B; variant A has none."""

    def __post_init__(self) -> None:
        need(self.size >= 8, "augment.size", "must be at least 8 pixels")
        need(0 < self.scale[0] <= self.scale[1] <= 1, "augment.scale", "must rise within 0 to 1")
        need(0 < self.ratio[0] <= self.ratio[1], "augment.ratio", "must rise and be positive")
        need(min(self.downsample_sides) >= 8, "augment.downsample_sides", "must be at least 8 pixels each")
        for name in ("downsample", "flip", "jitter", "gray", "blur_a", "blur_b", "solarize_b"):
            need(0 <= getattr(self, name) <= 1, f"augment.{name}", "is a probability, in 0 to 1")
        for name in ("brightness", "contrast", "saturation"):
            need(0 <= getattr(self, name) <= 1, f"augment.{name}", "must be in 0 to 1")
        need(0 <= self.hue <= 0.5, "augment.hue", "must be in 0 to 0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCropsConfig:
    """Small crops that only the student sees (method section 3.2); what is not named here is as in ``augment``."""

    count: int = 4
    """Local crops of each image; 0 for none."""
    size: int = 96
    scale: tuple[float, float] = (0.08, 0.32)
    blur: float = 0.5
    """Probability of blur; local crops are never solarised."""

    def __post_init__(self) -> None:
        need(0 <= self.count <= 64, "local_crops.count", "must be in 0 to 64")
        need(self.size >= 4, "local_crops.size", "must be at least 4 pixels")
        need(0 < self.scale[0] <= self.scale[1] <= 1, "local_crops.scale", "must rise within 0 to 1")
        need(0 <= self.blur <= 1, "local_crops.blur", "is a probability, in 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskConfig:
    """Which patches of its global crops the student does not see (method section 3.6)."""

    images: float = 0.5
    """Share of a cell's images that are masked, rounded down."""
    ratio: tuple[float, float] = (0.5, 0.5)
    """Share of a masked image's patches; of a range every stratum is used in every cell."""
    shape: Literal["random", "block", "blocks"] = "random"
    """``random``: any patches, as in the paper. ``block``: one block of a drawn place and aspect. ``blocks``: several
    smaller ones, as in BEiT. All of the exact count: patches that BEiT's blocks leave wanting are any others."""
    first_views: bool = later(False)
    """Whether it is the first views of each caption, in a drawn order, that are masked, instead of any images of the
    cell: with half of the images masked, half of each caption's (the release's ``mask_first_n``)."""

    def __post_init__(self) -> None:
        need(0 < self.images <= 1, "mask.images", "must be above 0 and at most 1")
        need(0 < self.ratio[0] <= self.ratio[1] <= 1, "mask.ratio", "must rise within 0 to 1")
