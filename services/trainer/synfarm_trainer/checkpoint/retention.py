"""Which checkpoints stay, and how the others go (``docs/decisions/0011-checkpoints.md``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from synfarm.contracts import layout
from synfarm.storage.protocol import StoreRefused
from synfarm.telemetry import get_logger
from synfarm_trainer.checkpoint.store import COMMIT, CheckpointInvalid, CheckpointStore
from synfarm_trainer.patience import patiently

__all__ = ["Keep", "sweep"]

_log = get_logger(__name__)
Place = tuple[int, int]
"""(attempt, step): later ones count before earlier ones."""
Folders = Mapping[Place, Mapping[str, int]]
"""What lies in each folder, the one that counts first; sizes by name."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept; ``last`` 0 is everything."""

    last: int = 0
    """The newest so many that are whole."""
    every: int = 0
    """Besides, those of steps that are multiples of this; 0: none."""


def sweep(checkpoints: CheckpointStore, keep: Keep) -> list[Place]:
    """Delete what is not kept; the places that are gone. To be called when a commit of this attempt stands.

    Nothing goes while fewer than ``keep.last`` are there in full, and nothing that counts before one of these. What has
    no commit and counts after them is the rest of a deletion or of a save that was cut short, and goes too.

    Raises:
        Fenced: a newer attempt exists. It began by looking for a checkpoint, and what was deleted here until now counts
            after one that it could see.
    """
    if not keep.last:
        return []
    folders = checkpoints.folders()
    border = _border(checkpoints, folders, keep.last)
    gone = []
    for place in _behind(folders, border, keep.every) if border is not None else []:
        checkpoints.look()
        try:
            _delete(checkpoints, place, folders[place])
        except StoreRefused as error:
            attempt, step = place
            _log.warning("checkpoint_stays", run=checkpoints.run, step=step, attempt=attempt, error=str(error))
            break
        gone.append(place)
    return gone


def _border(checkpoints: CheckpointStore, folders: Folders, last: int) -> Place | None:
    """The ``last``-th of those that are there in full; None if there are fewer."""
    for place, names in folders.items():
        if COMMIT in names and _is_whole(checkpoints, place, names):
            last -= 1
            if not last:
                return place
    return None


def _is_whole(checkpoints: CheckpointStore, place: Place, names: Mapping[str, int]) -> bool:
    """Every file that its commit names is there with its size. Bytes are not read again."""
    try:
        commit = checkpoints.read_commit(*place)
    except CheckpointInvalid:
        return False
    return all(names.get(layout.parse_checkpoint(file.key)[2]) == file.size for file in commit.files)


def _behind(folders: Folders, border: Place, every: int) -> list[Place]:
    """What counts after the border and is not kept for its step, the oldest first.

    Of several checkpoints of one step the one that counts stays.
    """
    kept: set[int] = set()
    gone: list[Place] = []
    for place, names in folders.items():
        step, committed = place[1], COMMIT in names
        if committed and (place >= border or (every > 0 and step % every == 0 and step not in kept)):
            kept.add(step)
        elif place < border:
            gone.append(place)
    return gone[::-1]


def _delete(checkpoints: CheckpointStore, place: Place, names: Mapping[str, int]) -> None:
    """``commit.json`` first: what is half deleted is no checkpoint any more."""
    attempt, step = place
    checkpoints.reach("checkpoint.delete", step)
    for name in sorted(names, key=lambda name: name != COMMIT):
        patiently(checkpoints.store.delete, layout.checkpoint_file(checkpoints.run, step, attempt, name))
        checkpoints.reach("checkpoint.deleting", step)
