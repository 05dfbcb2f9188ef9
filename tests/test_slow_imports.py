from __future__ import annotations

import gc

import pytest

from synfarm.slow_imports import collector_at_rest


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_imported_is_looked_through_neither_now_nor_later(fails: bool) -> None:
    frozen, kept = gc.get_freeze_count(), []
    try:
        with collector_at_rest():
            assert not gc.isenabled()
            kept = [[number] for number in range(10_000)]
            if fails:
                raise ImportError("no such module")
    except ImportError:
        assert fails
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(kept)
