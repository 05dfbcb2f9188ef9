"""What the loader makes ahead of the step: in order, in its own thread, and gone when nobody wants it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from synfarm.storage.memory import MemoryStore
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.handover import Handover
from synfarm_trainer.data.loader import Loader
from synfarm_trainer.data.manifest import load_dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.presets import resolve

BOUND = 60.0


class Told:
    """An iterator's items, and when each was made."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.made = [threading.Event() for _ in range(count)]
        self._error = error

    def __iter__(self) -> Iterator[int]:
        for number, event in enumerate(self.made):
            event.set()
            yield number
        if self._error is not None:
            raise self._error


def test_the_next_item_is_made_while_the_last_is_in_use() -> None:
    told = Told(4)
    items = Handover(iter(told), "test")
    assert next(items) == 0
    assert told.made[1].wait(BOUND), "nobody has asked for it yet"
    assert list(items) == [1, 2, 3]
    items._thread.join(BOUND)
    assert not items._thread.is_alive()


def test_at_most_one_item_waits() -> None:
    told = Told(10)
    items = Handover(iter(told), "test")
    assert told.made[1].wait(BOUND), "the first lies there, the second waits in its maker's hand"
    with items._changed:
        assert len(items._made) <= 1
    assert not told.made[2].is_set()
    items.close()


def test_an_error_comes_behind_the_items_that_were_made_before_it() -> None:
    items = Handover(iter(Told(2, ValueError("the third"))), "test")
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(items)


def test_closed_it_makes_no_more() -> None:
    told = Told(100)
    items = Handover(iter(told), "test")
    assert next(items) == 0
    items.close()
    items._thread.join(BOUND)
    assert not items._thread.is_alive()
    assert not told.made[50].is_set()
    with pytest.raises(StopIteration):
        next(items)


def test_steps_draw_and_put_together_nothing_themselves(write_dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """At an H200's rate the draws and copies of a batch alone would take a third of the step."""
    store = MemoryStore()
    dataset = load_dataset(store, [write_dataset(store, captions=32, size=32)], views=4)
    config: TrainConfig = resolve("tiny", {"data.captions_per_batch": 8, "data.held_out": 0.1})
    data = config.data
    plan = Plan(dataset.table, 0, data.captions_per_batch, data.block_shards, data.held_out, data.cell_captions)
    loader, threads = Loader(dataset, plan, ShardCache(store, 1 << 20), config), set()
    draw = loader._draw

    def drawn(step: int):
        threads.add(threading.current_thread().name)
        return draw(step)

    monkeypatch.setattr(loader, "_draw", drawn)
    batches = list(loader.batches(0, 3))
    loader.close()
    assert [batch.step for batch in batches] == [0, 1, 2]
    assert threads == {"batches"}
    for batch in batches:
        assert batch.pixels is not None
        assert batch.pixels.base is None, "readers have written it in place: it is no copy"
