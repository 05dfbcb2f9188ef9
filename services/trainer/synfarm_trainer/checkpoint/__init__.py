"""Checkpoints: each rank uploads its share beside the training, the first one commits, old ones go."""

from synfarm_trainer.checkpoint.retention import Keep
from synfarm_trainer.checkpoint.saver import Saver
from synfarm_trainer.checkpoint.store import CheckpointInvalid, CheckpointStore, Fenced

__all__ = ["CheckpointInvalid", "CheckpointStore", "Fenced", "Keep", "Saver"]
