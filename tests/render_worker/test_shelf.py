"""Which renderer a job gets, and what a worker says that cannot make it."""

from __future__ import annotations

import sys

import pytest

from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import EnvironmentFault
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.shelf import make_renderer


@pytest.mark.parametrize("missing", ["torch", "diffusers"])
def test_a_worker_without_diffusers_draws_collages_and_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "synfarm_render_worker.diffusers_renderer", raising=False)
    settings = RenderWorkerSettings()
    assert make_renderer(RenderSettings(), settings).name == "collage"
    job = RenderSettings(renderer="diffusers", family="sd15", model="a/b", revision="c")
    with pytest.raises(EnvironmentFault, match=rf"'{missing}'.*synfarm\[render-worker,diffusers\]"):
        make_renderer(job, settings)
