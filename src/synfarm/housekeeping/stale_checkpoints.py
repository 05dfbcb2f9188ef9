"""Files of checkpoints that were never committed, or whose deletion was cut short."""

from __future__ import annotations

from synfarm.contracts import layout
from synfarm.housekeeping.removing import Remover
from synfarm.storage.protocol import ObjectInfo

__all__ = ["sweep_checkpoints"]

_COMMIT = "commit.json"


def sweep_checkpoints(run: str, remover: Remover) -> None:
    """Remove the folders of a run's checkpoints that have no commit and will never get one.

    Commits of an attempt come in order, and a superseded attempt commits nothing: beside a checkpoint of a later step,
    or of a newer attempt, and when the run has ended, nobody works on such a folder. All of it must be old besides.
    """
    store = remover.store
    folders: dict[tuple[int, int], list[ObjectInfo]] = {}
    committed: set[tuple[int, int]] = set()
    for info in store.list(layout.checkpoints_prefix(run)):
        try:
            step, attempt, name = layout.parse_checkpoint(info.key)
        except ValueError:
            remover.note(f"{info.key}: no synfarm writes such an object there; it was left alone.")
            continue
        folders.setdefault((attempt, step), []).append(info)
        if name == _COMMIT:
            committed.add((attempt, step))
    ended: bool | None = None
    for place, infos in sorted(folders.items()):
        if place in committed or not all(remover.is_old(info) for info in infos):
            continue
        if max(committed, default=(-1, -1)) < place:
            ended = store.head(layout.run_ended(run)) is not None if ended is None else ended
            if not ended:
                continue
        _remove(run, place, infos, remover)


def _remove(run: str, place: tuple[int, int], infos: list[ObjectInfo], remover: Remover) -> None:
    attempt, step = place
    if remover.delete and _has_commit(run, place, remover):
        return
    for info in infos:
        if not remover.delete or remover.is_still_old(info.key):
            remover.remove(info, f"attempt {attempt} of run {run} never committed its checkpoint of step {step}")


def _has_commit(run: str, place: tuple[int, int], remover: Remover) -> bool:
    """Looked at once more, right before."""
    attempt, step = place
    return remover.store.head(layout.checkpoint_commit(run, step, attempt)) is not None
