"""Loading a model: what is told meanwhile and after, whose fault a failure is, and what a preload setting means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from synfarm.contracts.jobs import RenderSettings
from synfarm.faults import Faults
from synfarm.queue.lease import Interrupt, Lease, UnitInterrupted
from synfarm.queue.patience import Load, Patience
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.loading import ToldLoading
from synfarm_render_worker.renderer import FakeRenderer, Renderer, Step
from synfarm_render_worker.settings import RenderWorkerSettings

RENDER = RenderSettings(renderer="diffusers", model="hub/m", revision="r1", family="sd15", size=512)


class OnGpu(FakeRenderer):
    @property
    def versions(self) -> dict[str, str]:
        return {"gpu": "NVIDIA H200"}


class Told:
    """Stands for the worker's announcement."""

    def __init__(self) -> None:
        self.info: dict[str, object] = {"model": None, "loading": None, "trouble": None, "gpu": None}

    def update(self, **changes: object) -> None:
        self.info |= changes


def loading(make: Callable[[RenderSettings], Renderer], told: Told, patience: Patience | None = None) -> ToldLoading:
    return ToldLoading(make, told, patience or Patience(10, 100), Faults())  # type: ignore[arg-type]


def test_a_load_is_told_while_it_goes_on_and_model_and_gpu_after_it() -> None:
    told, seen = Told(), list[object]()

    def make(render: RenderSettings, step: Step) -> Renderer:
        seen.append(told.info["loading"])
        return OnGpu()

    loading(make, told)(RENDER)
    assert seen == ["hub/m@r1"]
    assert told.info == {"model": "hub/m@r1", "loading": None, "trouble": None, "gpu": "NVIDIA H200"}


def test_a_renderer_that_is_kept_is_no_load() -> None:
    loads: list[Load] = []

    class Noting(Patience):
        @contextmanager
        def loading(self) -> Iterator[Load]:
            with super().loading() as load:
                yield load
                loads.append(load)

    kept = OnGpu()
    load = loading(lambda _, step: kept, Told(), Noting(10, 100))
    for _ in range(2):
        load(RENDER)
    assert [one.happened for one in loads] == [True, False]


def test_a_renderer_without_a_model_in_between_is_no_load_of_the_model() -> None:
    loads: list[Load] = []

    class Noting(Patience):
        @contextmanager
        def loading(self) -> Iterator[Load]:
            with super().loading() as load:
                yield load
                loads.append(load)

    kept = OnGpu()
    load = loading(lambda render, step: kept if render.model else FakeRenderer(), Told(), Noting(10, 100))
    for render in (RENDER, RenderSettings(), RENDER):
        load(render)
    assert [one.happened for one in loads] == [True, False, False]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (EnvironmentFault("render.model: 'hub/m' is gated"), "render.model: 'hub/m' is gated"),
        (RuntimeError("CUDA error"), "the model 'hub/m@r1' cannot be loaded: CUDA error"),
        (MemoryError(), "the model 'hub/m@r1' cannot be loaded: MemoryError"),
    ],
)
def test_whatever_goes_wrong_in_a_load_is_no_unit_s_fault_and_names_the_model(error: Exception, told: str) -> None:
    worker, results = Told(), iter([error, OnGpu()])

    def make(_: RenderSettings, step: Step) -> Any:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    load = loading(make, worker)
    with pytest.raises(EnvironmentFault) as raised:
        load(RENDER)
    assert str(raised.value) == worker.info["trouble"] == told
    assert (worker.info["model"], worker.info["loading"]) == (None, None)
    load(RENDER)
    assert (worker.info["model"], worker.info["trouble"]) == ("hub/m@r1", None)


def test_settings_that_nobody_can_render_stay_the_unit_s_fault() -> None:
    worker = Told()

    def make(_: RenderSettings, step: Step) -> Renderer:
        raise UnitFault("render.size: too large")

    with pytest.raises(UnitFault):
        loading(make, worker)(RENDER)
    assert (worker.info["loading"], worker.info["trouble"]) == (None, None)


def test_a_load_tells_its_steps_and_may_be_interrupted_by_them() -> None:
    """A cancel during a download is no trouble of the model's."""
    worker, steps = Told(), list[int]()

    def make(render: RenderSettings, step: Step) -> Renderer:
        while True:
            steps.append(1)
            step()

    lease = Lease("a", watch=lambda: Interrupt.CANCELLED if len(steps) > 2 else None, poll_seconds=0)
    with pytest.raises(UnitInterrupted, match="cancelled"):
        loading(make, worker)(RENDER, lease.step)
    assert len(steps) == 3
    assert worker.info["trouble"] is None


def test_a_preload_is_a_model_a_model_at_a_revision_or_settings() -> None:
    def of(preload: str, *capabilities: str) -> RenderSettings | None:
        return RenderWorkerSettings(preload=preload, capabilities=capabilities).preloaded

    assert of("hub/m@r1", "collage-s", "sd15-m") == RENDER
    assert of(RENDER.to_bytes().decode(), "sd15-m") == RENDER
    assert of("hub/m", "sdxl-l") == RENDER.model_copy(update={"revision": None, "family": "sdxl", "size": 1024})
    assert RenderWorkerSettings().preloaded is None


@pytest.mark.parametrize(
    ("preload", "capabilities", "told"),
    [
        ("hub/m", ("collage-s",), "names no family of a model"),
        ("../m", ("sd15-m",), "give 'model', 'model@revision' or RenderSettings as JSON"),
        ('{"renderer": "diffusers"}', ("sd15-m",), "needs 'model'"),
        (RENDER.to_bytes().decode(), ("sd15-s",), "needs the capability 'sd15-m', which is not among"),
    ],
)
def test_a_preload_that_cannot_be_is_refused_at_start(preload: str, capabilities: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RenderWorkerSettings(preload=preload, capabilities=capabilities)
