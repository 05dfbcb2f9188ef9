"""TensorBoard: one folder of event files a run, in the trainer's state folder or wherever the setting says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synfarm_trainer.sinks.protocol import RecordKind, RunOpening
from synfarm_trainer.sinks.scalars import scalars

__all__ = ["TensorBoardFiles"]


class TensorBoardFiles:
    """Look at them with ``tensorboard --logdir <folder>``."""

    def __init__(self, folder: Path, opening: RunOpening) -> None:
        from torch.utils.tensorboard import SummaryWriter

        spec = opening.spec
        # What an earlier start told of steps that now come again is taken back.
        purge = opening.resumed_step + 1 if opening.attempt else None
        self._writer = SummaryWriter(str(folder / spec.run), purge_step=purge, flush_secs=10)
        text = json.dumps(spec.config, indent=1)
        self._writer.add_text("configuration", f"```json\n{text}\n```", opening.resumed_step)

    def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
        if (found := scalars(kind, data)) is not None:
            step, values = found
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
