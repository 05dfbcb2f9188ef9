"""The batch size: doubling on a made-up device, the file that remembers it, and who decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from synfarm_render_worker.diffusion import preparing, tuning
from synfarm_render_worker.diffusion.preparing import key_of, prepared
from synfarm_render_worker.diffusion.tuning import BatchBook, BatchKey, DoesNotFit, tuned
from synfarm_render_worker.renderer import ImageRequest
from synfarm_render_worker.settings import RenderWorkerSettings

KEY = BatchKey(device="H200", model="a/b", revision="c", size=512, passes="guided", dtype="bfloat16")


class Device:
    """Draws ``fills`` images as fast as one; holds ``room`` images."""

    def __init__(self, *, fills: int = 10**6, room: int = 10**6, share: float = 0.0) -> None:
        self.fills, self.room, self.share, self.tried = fills, room, share, list[int]()

    def seconds_of(self, batch: int) -> float:
        self.tried.append(batch)
        if batch > self.room:
            raise DoesNotFit
        return max(1.0, batch / self.fills)

    def memory_used(self) -> float:
        return self.share * self.tried[-1]


@pytest.mark.parametrize(
    ("device", "best", "tried"),
    [
        (Device(fills=8), 8, [1, 2, 4, 8, 16]),
        (Device(fills=8.2), 8, [1, 2, 4, 8, 16]),  # type: ignore[arg-type] - 2.5 % more is no gain
        (Device(room=20), 16, [1, 2, 4, 8, 16, 32]),
        (Device(share=0.1), 8, [1, 2, 4, 8, 16]),  # 16 would take 160 % … 8 takes 80 %
        (Device(share=0.3), 2, [1, 2, 4]),
        (Device(share=0.9), 1, [1]),
        (Device(), 64, [1, 2, 4, 8, 16, 32, 64]),
    ],
)
def test_doubles_until_nothing_is_gained_or_memory_is_full(device: Device, best: int, tried: list[int]) -> None:
    assert tuned(device.seconds_of, device.memory_used, largest=64) == best
    assert device.tried == tried


def test_the_book_keeps_entries_by_key_and_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "batches.json"
    book = BatchBook(path)
    other = BatchKey(device="H200", model="a/b", revision="d", size=512, passes="plain", dtype="bfloat16")
    assert book.get(KEY) is None
    book.put(KEY, 64)
    book.put(other, 128)
    book.put(KEY, 32)
    assert (BatchBook(path).get(KEY), BatchBook(path).get(other)) == (32, 128)
    assert sorted(json.loads(path.read_text()).values()) == [32, 128]
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": "b"}', '{"a": 0}', '{"a": 1.5}', "\xff"])
def test_a_bad_book_is_ignored_with_a_warning(tmp_path: Path, logged: Callable[..., Any], content: str) -> None:
    path, lines = tmp_path / "batches.json", logged(tuning)
    path.write_bytes(content.encode("latin-1"))
    assert BatchBook(path).get(KEY) is None
    assert [line["event"] for line in lines] == ["batch_file_ignored"]
    BatchBook(path).put(KEY, 8)
    assert BatchBook(path).get(KEY) == 8


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, logged: Callable[..., Any]) -> None:
    lines = logged(tuning)
    (tmp_path / "cache").write_text("a file, not a folder")
    BatchBook(tmp_path / "cache" / "batches.json").put(KEY, 8)
    assert "batch_not_remembered" in [line["event"] for line in lines]


def test_the_key_tells_guided_from_plain_and_size_from_size(
    load: Callable[..., Any], render_settings: Callable[..., Any]
) -> None:
    model = load("sd")
    keys = [
        key_of(render_settings("sd", **changes), model)
        for changes in ({}, {"guidance": 1.0}, {"size": 64}, {"size": 64, "render_size": 32}, {"quality": 3})
    ]
    assert keys[0] == keys[3] == keys[4]
    assert len({str(key) for key in keys}) == 3


def test_on_a_cpu_the_batch_is_fixed_by_size_and_a_setting_overrides(
    load: Callable[..., Any], render_settings: Callable[..., Any], tmp_path: Path
) -> None:
    model = load("sd")

    def batch(render: Any, **settings: Any) -> int:
        hint: int = prepared(render, model, RenderWorkerSettings(**settings), tmp_path).batch_hint
        return hint

    assert batch(render_settings("sd")) == 8
    assert batch(render_settings("sd", size=256)) == 2
    assert batch(render_settings("sd", size=1024)) == 1
    assert batch(render_settings("sd"), batch=3) == 3


def test_out_of_memory_is_remembered_for_the_next_start(
    load: Callable[..., Any],
    render_settings: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, render = load("sd"), render_settings("sd")
    drawn = prepared(render, model, RenderWorkerSettings(), tmp_path)
    predict = model.adapter.predict

    def small(sample: torch.Tensor, *arguments: Any) -> torch.Tensor:
        if len(sample) > 4:
            raise torch.OutOfMemoryError
        return predict(sample, *arguments)

    monkeypatch.setattr(model.adapter, "predict", small)
    drawn.render([ImageRequest("a dog", seed) for seed in range(8)])
    assert drawn.batch_hint == 2
    assert prepared(render, load("sd"), RenderWorkerSettings(), tmp_path).batch_hint == 2


def test_a_gpu_is_tuned_once_and_then_looked_up(
    load: Callable[..., Any],
    render_settings: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The device is a CPU that calls itself a GPU; what is measured is real."""
    model, render = load("sd"), render_settings("sd")
    monkeypatch.setattr(preparing, "on_gpu", lambda _: True)
    monkeypatch.setattr(preparing, "_gpu_name", lambda _: "H200")
    monkeypatch.setattr(preparing, "_memory_used", lambda _: 0.0)
    tried: list[int] = []
    monkeypatch.setattr(
        preparing, "tuned", lambda seconds_of, _: [tried.append(b) or seconds_of(b) for b in (1, 2)] and 2
    )
    settings = RenderWorkerSettings(compile="off")
    assert prepared(render, model, settings, tmp_path).batch_hint == 2
    assert prepared(render, model, settings, tmp_path).batch_hint == 2
    assert tried == [1, 2]
    assert '\\"H200\\"' in (tmp_path / "batches.json").read_text()
    spent = prepared(render, model, settings, tmp_path).spent()
    assert (spent.images, spent.steps, spent.denoise) == (0, 0, 0), "tuning is no work of a unit"
