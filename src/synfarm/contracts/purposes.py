"""The purposes of keyed randomness: one name for each independent stream, so that no two choices share bits."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Purpose"]


class Purpose(StrEnum):
    """Names are part of the contract: renaming one changes every dataset and run made with it."""

    SOURCE = "caption.source"
    CONCEPT = "caption.concept"
    TEMPLATE = "caption.template"
    SECOND = "caption.second"
    EXAMPLES = "caption.examples"
    LLM_SEED = "caption.llm-seed"
    BACKGROUND_EXAMPLES = "background.examples"
    BACKGROUND_LLM_SEED = "background.llm-seed"
    IMAGE = "render.image"
    HELD_OUT = "train.held-out"
    SHARD_ORDER = "train.shard-order"
    BLOCK_ORDER = "train.block-order"
    VIEWS = "train.views"
    CROP = "train.crop"
    DOWNSAMPLE = "train.downsample"
    FLIP = "train.flip"
    JITTER = "train.jitter"
    GRAY = "train.gray"
    BLUR = "train.blur"
    SOLARIZE = "train.solarize"
    MASK = "train.mask"
    DROP_PATH = "train.drop-path"
    REFILL = "train.refill"
    INIT = "train.init"
    VERIFY = "verify.sample"
    SIMULATE = "plan.simulate"
