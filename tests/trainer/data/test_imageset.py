"""Images for evaluations: those that were asked for in their order, several of them on their way at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from synfarm.storage.memory import MemoryStore
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.imageset import read_images
from synfarm_trainer.data.manifest import load_dataset

ROWS = [1, 9, 17, 30, 33, 63]


def test_images_are_read_several_at_a_time_and_keep_their_order(write_dataset: Callable[..., Any]) -> None:
    store = MemoryStore()
    dataset = load_dataset(store, [write_dataset(store)], views=4)
    alone = [read_images(dataset, ShardCache(store, 1 << 24), [row], 16) for row in ROWS]
    both = threading.Barrier(2, timeout=60)
    first = threading.Semaphore(2)

    def meet(operation: str, key: str) -> None:
        if operation.startswith("get") and "/shards/" in key and first.acquire(blocking=False):
            both.wait()

    store.fault = meet
    found = read_images(dataset, ShardCache(store, 1 << 24), ROWS, 16)
    assert np.array_equal(found.pixels, np.concatenate([one.pixels for one in alone]))
    assert found.captions.tolist() == [row for row in ROWS for _ in range(4)]
    assert np.array_equal(found.labels, np.concatenate([one.labels for one in alone]))
