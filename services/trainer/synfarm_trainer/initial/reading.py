"""Weights by name: of a run, of the store, of timm. Always safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import timm
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError
from torch import Tensor

from synfarm.contracts import layout
from synfarm.contracts.runs import CheckpointCommit, CheckpointFile
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm_trainer.config import Initial, OfRun, OfStore, OfTimm
from synfarm_trainer.foreign import ours
from synfarm_trainer.patience import patiently
from synfarm_trainer.shares import part_of
from synfarm_trainer.tensor_files import tensors_in

__all__ = ["Weights", "read_weights"]

_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Weights:
    tensors: Mapping[str, Tensor]
    """Of a backbone by timm's names; those of a checkpoint begin with ``backbone.``, with heads beside them."""
    sha256: str
    """Of the file that they were read from; of several files, of their hashes' digits in order."""


def read_weights(initial: Initial, store: ObjectStore) -> Weights:
    """
    Raises:
        ValueError: there are none; the message has field and cure.
        StoreError, ConnectionError: they cannot be read now.
    """
    if isinstance(initial, OfTimm):
        return _of_timm(initial.model)
    if isinstance(initial, OfStore):
        return _parsed(_get(store, initial.key, "put the file there, or name another"), initial.key)
    if initial.step is None:
        key = layout.export_file(initial.run, "backbone.safetensors")
        cure = f"wait until it is complete, or name a checkpoint: run:{initial.run}@<step>"
        return _parsed(_get(store, key, cure), key)
    return _of_checkpoint(store, initial)


def _of_checkpoint(store: ObjectStore, of: OfRun) -> Weights:
    """The network that would be exported: the teacher's where there is one."""
    infos = patiently(lambda: list(store.list(layout.checkpoints_prefix(of.run))))
    found = ours(infos, layout.parse_checkpoint)
    committed = sorted((attempt, step) for _, (step, attempt, name) in found if name == "commit.json")
    attempts = [attempt for attempt, step in committed if step == of.step]
    if not attempts or of.step is None:
        steps = ", ".join(map(str, sorted({step for _, step in committed}))) or "none"
        raise ValueError(f"model.init_from: run {of.run} has no checkpoint of step {of.step}; it has: {steps}")
    commit = CheckpointCommit.from_bytes(patiently(store.get, layout.checkpoint_commit(of.run, of.step, max(attempts))))
    files = {layout.parse_checkpoint(file.key)[2]: file for file in commit.files}
    parts = [_of_file(store, files[name]) for name in part_of("teacher", files) or part_of("student", files)]
    if len(parts) == 1:
        return parts[0]
    hashes = "".join(part.sha256 for part in parts)
    return Weights(
        {name: tensor for part in parts for name, tensor in part.tensors.items()},
        hashlib.sha256(hashes.encode()).hexdigest(),
    )


def _of_file(store: ObjectStore, file: CheckpointFile) -> Weights:
    data = _get(store, file.key, "name another step")
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ValueError(f"model.init_from: the checksum of {file.key} differs from its commit's; name another step")
    return _parsed(data, file.key)


def _get(store: ObjectStore, key: str, cure: str) -> bytes:
    try:
        return patiently(store.get, key)
    except ObjectMissing as error:
        raise ValueError(f"model.init_from: the store has no {key}; {cure}") from error


def _parsed(data: bytes, key: str) -> Weights:
    try:
        return Weights(tensors_in(data), hashlib.sha256(data).hexdigest())
    except ValueError as error:
        raise ValueError(f"model.init_from: {key} is no safetensors file ({error}); name another") from error


def _of_timm(name: str) -> Weights:
    """Through ``timm.create_model``, which brings published files into the names and shapes of its classes."""
    config = timm.get_pretrained_cfg(name) if timm.is_model(name.partition(".")[0]) else None
    if config is None or not config.hf_hub_id:
        near = get_close_matches(name, timm.list_models("*vit*", pretrained=True), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models(pretrained=True) lists them"
        raise ValueError(f"model.init_from: timm has no pretrained model {name!r}; {hint}")
    try:
        file = Path(hf_hub_download(config.hf_hub_id, _FILE))
    except (LocalEntryNotFoundError, ConnectionError) as error:
        cure = "try again, or fill the hub's cache (HF_HOME) on this machine beforehand"
        raise ConnectionError(f"model.init_from: the hub does not give {config.hf_hub_id}; {cure}") from error
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise ValueError(f"model.init_from: {config.hf_hub_id} has no {_FILE}; name another model") from error
    # The file itself is handed over: left to itself timm would take a pickled one where there is no other.
    model = timm.create_model(
        name, pretrained=True, num_classes=0, pretrained_cfg_overlay={"file": str(file), "custom_load": False}
    )
    return Weights(model.state_dict(), hashlib.sha256(file.read_bytes()).hexdigest())
