"""The whole configuration of a run as one frozen tree, free of torch so that the service can resolve it cheaply."""

from synfarm_trainer.config.codec import coerce, from_dict, to_dict
from synfarm_trainer.config.data import AugmentConfig, DataConfig, LocalCropsConfig, MaskConfig
from synfarm_trainer.config.families import family_fields
from synfarm_trainer.config.initial import Initial, OfRun, OfStore, OfTimm, parse_initial
from synfarm_trainer.config.model import ModelConfig
from synfarm_trainer.config.objectives import (
    OBJECTIVES,
    SIZES,
    ClipConfig,
    ContrastiveConfig,
    DinoConfig,
    Dinov2Config,
    IbotConfig,
    MaeConfig,
    MaskedPrototypeConfig,
    MocoV3Config,
    ObjectiveConfig,
    ProjectedConfig,
    PrototypeConfig,
    SimclrConfig,
    StablerepConfig,
    SupceConfig,
    SynclrConfig,
)
from synfarm_trainer.config.optim import EmaConfig, OptimConfig, ScheduleConfig
from synfarm_trainer.config.running import CheckpointConfig, EvalConfig, ExecutionConfig
from synfarm_trainer.config.train import TrainConfig

__all__ = [
    "OBJECTIVES",
    "SIZES",
    "AugmentConfig",
    "CheckpointConfig",
    "ClipConfig",
    "ContrastiveConfig",
    "DataConfig",
    "DinoConfig",
    "Dinov2Config",
    "EmaConfig",
    "EvalConfig",
    "ExecutionConfig",
    "IbotConfig",
    "Initial",
    "LocalCropsConfig",
    "MaeConfig",
    "MaskConfig",
    "MaskedPrototypeConfig",
    "MocoV3Config",
    "ModelConfig",
    "ObjectiveConfig",
    "OfRun",
    "OfStore",
    "OfTimm",
    "OptimConfig",
    "ProjectedConfig",
    "PrototypeConfig",
    "ScheduleConfig",
    "SimclrConfig",
    "StablerepConfig",
    "SupceConfig",
    "SynclrConfig",
    "TrainConfig",
    "coerce",
    "family_fields",
    "from_dict",
    "parse_initial",
    "to_dict",
]
