"""A damaged manifest is the data's fault, says where, and what finds the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.manifests import Ended
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.data.manifest import DatasetInvalid, load_dataset


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_part_is_told(write_dataset: Callable[..., Any], damage: str) -> None:
    store = MemoryStore()
    ref = write_dataset(store)
    (part,) = Ended.from_bytes(store.get(layout.ended(ref.job, ref.generation))).parts
    if damage == "gone":
        store.delete(part.key)
    else:
        store.put(part.key, store.get(part.key).replace(b'"groups":8', b'"groups":7', 1))
    with pytest.raises(DatasetInvalid, match=f"{part.key}: .*synfarm verify {ref.job}"):
        load_dataset(store, [ref], views=2)
