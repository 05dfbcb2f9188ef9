"""From settings to sinks: which there are, and what each needs installed."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from synfarm_trainer.sinks.fan_out import Sinks
from synfarm_trainer.sinks.mlflow_run import MlflowRun
from synfarm_trainer.sinks.protocol import Opener
from synfarm_trainer.sinks.status_post import StatusPost
from synfarm_trainer.sinks.tensorboard_files import TensorBoardFiles
from synfarm_trainer.sinks.wandb_run import WandbRun

__all__ = ["SinkName", "SinkSettings", "missing_packages", "open_sinks"]

SinkName = Literal["tensorboard", "wandb", "mlflow", "status"]
_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


class SinkSettings(BaseSettings):
    """``SYNFARM_TRAINER_*``: of the machine, never of a run, for they name places and keys that are not its owner's."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_TRAINER_", frozen=True, hide_input_in_errors=True)

    sinks: Annotated[tuple[SinkName, ...], NoDecode] = ()
    """``tensorboard,wandb,mlflow,status``: any of them."""
    tensorboard_dir: Path | None = None
    """A folder for all runs; by default ``tensorboard`` in the state folder."""
    wandb_project: str = "synfarm"
    mlflow_experiment: str = "synfarm"
    status_url: AnyHttpUrl | None = None
    """Where ``status`` posts. In a TrainJob's pod: what ``KUBEFLOW_TRAINER_STATUS_URL`` holds."""
    status_token_file: Path | None = None
    """Holds the bearer key, read anew for each post."""
    status_ca_file: Path | None = None
    status_seconds: float = Field(default=10.0, gt=0)

    @field_validator("sinks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, (word.strip() for word in value.split(",")))) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if "status" in self.sinks and self.status_url is None:
            raise ValueError("SYNFARM_TRAINER_SINKS names status: set SYNFARM_TRAINER_STATUS_URL, or leave it out")
        return self


def missing_packages(settings: SinkSettings) -> dict[str, str]:
    """Sinks that will fail, and what to install for each."""
    missing = (name for name in settings.sinks if name in _PACKAGES and not importlib.util.find_spec(_PACKAGES[name]))
    return {name: f"pip install 'synfarm[trainer-{name}]'" for name in missing}


def open_sinks(settings: SinkSettings, state_dir: Path) -> Sinks:
    """Nothing of them is imported before a run begins to tell them."""
    board = settings.tensorboard_dir or state_dir / "tensorboard"
    openers: dict[str, Opener] = {
        "tensorboard": functools.partial(TensorBoardFiles, board),
        "wandb": functools.partial(WandbRun, settings.wandb_project, state_dir),
        "mlflow": functools.partial(MlflowRun, settings.mlflow_experiment),
        "status": functools.partial(
            StatusPost,
            str(settings.status_url),
            seconds=settings.status_seconds,
            token_file=settings.status_token_file,
            ca_file=settings.status_ca_file,
        ),
    }
    return Sinks({name: openers[name] for name in settings.sinks})
