"""Pins of runs that never came to be: a trainer was killed between the pins and ``run.json``."""

from __future__ import annotations

from synfarm.contracts import layout
from synfarm.housekeeping.removing import Remover

__all__ = ["sweep_pins"]


def sweep_pins(job: str, remover: Remover) -> None:
    """Remove the old pins of a job whose runs do not exist.

    A request that is sent again with its key may still complete such a run. It writes ``run.json`` and then its pins
    once more, and here the run is looked for once more after its pin is gone: whoever comes second sees the other.
    """
    store = remover.store
    for info in store.list(layout.pins_prefix(job)):
        try:
            run = layout.parse_pin(info.key)
        except ValueError:
            remover.note(f"{info.key}: no pin of a run; it was left alone.")
            continue
        if not remover.is_old(info) or store.head(layout.run(run)) is not None:
            continue
        if remover.delete and not remover.is_still_old(info.key):
            continue
        remover.remove(info, f"pin of run {run}, which does not exist")
        if remover.delete and store.head(layout.run(run)) is not None:
            store.create(info.key, b"{}")
            remover.take_back(info)
