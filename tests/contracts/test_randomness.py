"""The keyed hash: golden vectors, the same bits in every library, uniformity, no collisions between purposes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synfarm.contracts import randomness as r
from synfarm.contracts.purposes import Purpose

# Frozen for ever: a change here changes every dataset and run that was ever made.
GOLDEN_KEYS = {
    (0, "caption.concept"): 3616088523580556081,
    (7, "render.image"): 14969626801227618053,
    (2**63 - 1, ""): 16636173495885963420,
}
GOLDEN_BITS = [
    (0, (), 0),
    (0, (0,), 5197578548964807871),
    (1, (2, 3), 15605743234654214599),
    (2**64 - 1, (2**63 - 1, 0, 5), 2445019294344912817),
]


@pytest.mark.parametrize(("args", "key"), GOLDEN_KEYS.items())
def test_golden_keys(args: tuple[int, str], key: int) -> None:
    assert r.key_of(*args) == key


@pytest.mark.parametrize(("key", "ids", "expected"), GOLDEN_BITS)
def test_golden_bits(key: int, ids: tuple[int, ...], expected: int) -> None:
    assert r.bits(key, *ids) == expected


def test_golden_text_id_and_samples() -> None:
    assert r.text_id("fire truck") == 2649437295689663230
    assert r.shuffled_sample(r.key_of(3, "x"), 10, 4, 1) == [1, 3, 5, 4]
    assert r.permutation(r.key_of(3, "x"), 6, 2) == [3, 2, 4, 0, 1, 5]


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4), st.integers(0, 2**62))
def test_scalar_numpy_and_torch_give_the_same_bits(key: int, head: list[int], start: int) -> None:
    ids = [start + i for i in range(5)]
    scalar = [r.bits(key, *head, i) for i in ids]
    as_numpy = r.bits(key, *head, np.array(ids, dtype=np.int64))
    as_torch = r.bits(key, *head, torch.tensor(ids, dtype=torch.int64))
    assert [int(x) & (2**64 - 1) for x in as_numpy] == scalar
    assert as_torch.tolist() == as_numpy.tolist()
    floats = [r.uniform(x) for x in scalar]
    assert r.uniform(as_numpy).tolist() == floats
    assert r.uniform(as_torch).dtype == torch.float64
    assert r.uniform(as_torch).tolist() == floats
    small = [r.below(x, 1000) for x in scalar]
    assert r.below(as_numpy, 1000).tolist() == small
    assert r.below(as_torch, 1000).tolist() == small


def test_broadcasts_over_several_array_ids() -> None:
    rows, columns = np.arange(3)[:, None], np.arange(4)[None, :]
    table = r.bits(5, rows, 9, columns)
    assert table.shape == (3, 4)
    assert int(table[2, 1]) & (2**64 - 1) == r.bits(5, 2, 9, 1)


def test_uniform_passes_chi_square_on_a_million_draws() -> None:
    draws = r.uniform(r.bits(r.key_of(11, Purpose.CROP), np.arange(1_000_000)))
    assert draws.min() >= 0
    assert draws.max() < 1
    counts, _ = np.histogram(draws, bins=1000, range=(0, 1))
    chi = float(((counts - 1000.0) ** 2 / 1000.0).sum())
    assert abs(chi - 999) < 5 * math.sqrt(2 * 999)


def test_purposes_seeds_and_neighbouring_ids_are_independent() -> None:
    n = np.arange(20_000)
    streams = [r.uniform(r.bits(r.key_of(seed, p), n)) for seed in (0, 1) for p in list(Purpose)[:4]]
    correlation = np.corrcoef(np.array(streams)) - np.eye(len(streams))
    assert np.abs(correlation).max() < 0.04
    serial = np.corrcoef(streams[0][:-1], streams[0][1:])[0, 1]
    assert abs(serial) < 0.04
    assert len(set(Purpose)) == len({r.key_of(0, p) for p in Purpose})


@given(st.integers(0, 2**64 - 1), st.integers(1, 40), st.data())
def test_sampling_without_replacement(key: int, n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    drawn = r.shuffled_sample(key, n, k)
    assert len(set(drawn)) == k
    assert all(0 <= i < n for i in drawn)
    assert sorted(r.permutation(key, n)) == list(range(n))


def test_sampling_is_uniform_over_ordered_pairs() -> None:
    seen: dict[tuple[int, ...], int] = {}
    for i in range(12_000):
        pair = tuple(r.shuffled_sample(77, 4, 2, i))
        seen[pair] = seen.get(pair, 0) + 1
    assert len(seen) == 12
    assert max(abs(count - 1000) for count in seen.values()) < 160


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="seed must be"):
        r.key_of(-1, "x")
    with pytest.raises(ValueError, match="seed must be"):
        r.key_of(2**63, "x")
    with pytest.raises(ValueError, match="n must be"):
        r.below(1, 0)
    with pytest.raises(ValueError, match="without replacement"):
        r.shuffled_sample(1, 3, 4)
