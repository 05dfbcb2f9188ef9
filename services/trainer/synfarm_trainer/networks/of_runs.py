"""The backbone of a run: of its export, or of one of its checkpoints."""

from __future__ import annotations

from synfarm.contracts import layout
from synfarm.contracts.runs import RunSpec
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm_trainer.config import OfRun, TrainConfig, from_dict, parse_initial
from synfarm_trainer.initial.reading import read_weights
from synfarm_trainer.models.frozen import Frozen
from synfarm_trainer.models.vit import MEAN, STD, build_vit
from synfarm_trainer.networks.refused import NetworkRefused
from synfarm_trainer.patience import patiently

__all__ = ["config_of", "of_run"]

_FIELD = "model.init_from: "
"""What the reader of weights says them of, which nobody asked for here."""


def config_of(run: str, store: ObjectStore) -> TrainConfig:
    """What a run was frozen with.

    Raises:
        NetworkRefused: there is no such run.
    """
    try:
        return from_dict(RunSpec.from_bytes(patiently(store.get, layout.run(run))).config)
    except ObjectMissing as error:
        raise NetworkRefused(f"there is no run {run}; `synfarm runs list` shows them") from error


def of_run(text: str, store: ObjectStore) -> Frozen:
    """``RUN`` or ``RUN@STEP``: the teacher's backbone where there is one, as it is evaluated.

    Raises:
        NetworkRefused: there is no such run or checkpoint.
        StoreError: the store does not answer.
    """
    try:
        of = parse_initial(f"run:{text}")
        assert isinstance(of, OfRun)
        config = config_of(of.run, store)
        weights = read_weights(of, store)
    except NetworkRefused:
        raise
    except ValueError as error:
        raise NetworkRefused(str(error).removeprefix(_FIELD)) from error
    network = build_vit(config.model, config.augment.size)
    inner = {
        name.removeprefix("backbone."): tensor
        for name, tensor in weights.tensors.items()
        if of.step is None or name.startswith("backbone.")
    }
    try:
        network.load_state_dict(inner)
    except RuntimeError as error:
        first = str(error).partition("\n")[0][:200]
        raise NetworkRefused(
            f"the weights of run {text} are not those of its network ({first}); name another"
        ) from error
    described = {
        "run": of.run,
        "step": of.step,
        "width": config.model.width,
        "positions": config.model.positions,
        "weights_sha256": weights.sha256,
    }
    return Frozen(f"run:{text}", network.eval(), config.augment.size, MEAN, STD, described)
