"""A worker of two capabilities changes its model when it must, not at every message."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord, write_jsonl
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec, Lane, RenderSettings
from synfarm.contracts.renders import Stage
from synfarm.local.ports import HeldPorts
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.keys import Keys
from synfarm.settings import RedisSettings, StoreSettings
from synfarm.storage.protocol import ObjectStore

pytestmark = pytest.mark.integration

UNITS = 6


def submitted(store: ObjectStore, family: str) -> JobSpec:
    spec = JobSpec(
        job=str(ULID()).lower(),
        owner="me",
        created_at=utc_now(),
        concepts=(Concept(name="dog"),),
        captions=UNITS,
        captions_per_unit=1,
        images_per_caption=1,
        render=RenderSettings(renderer="diffusers", model=f"models/{family}", family=family, size=32),
    )
    store.create(layout.job(spec.job), spec.to_bytes())
    store.create(layout.active(spec.job), b"{}")
    for unit in range(UNITS):
        line = CaptionRecord(
            caption_id=caption_id(spec.job, unit),
            index=unit,
            concept="dog",
            text="a dog",
            draws=1,
            llm_seed=0,
            llm_model="m",
        )
        store.create(layout.captions(spec.job, unit), write_jsonl([line]))
    return spec


def test_units_of_two_models_by_turns_cost_two_loads(
    redis_url: str, store: ObjectStore, store_settings: StoreSettings, tmp_path: Path
) -> None:
    settings = RedisSettings(url=SecretStr(redis_url))
    redis, app, held = connect(settings), make_app(settings), HeldPorts(1)
    board = Board(redis, Keys(settings.namespace), RedisClock(redis))
    specs = [submitted(store, family) for family in ("one", "two")]
    for unit in range(UNITS):
        for spec in specs:
            # The first to be served is of the capability that is named last.
            lane = Lane.HIGH if (unit, spec) == (0, specs[1]) else Lane.NORMAL
            Dispatcher(app, board).send(spec, unit, Stage.RENDER, lane=lane)
    env = os.environ | {
        "SYNFARM_REDIS_URL": redis_url,
        "SYNFARM_STORE_ENDPOINT": store_settings.endpoint,
        "SYNFARM_STORE_ACCESS_KEY": store_settings.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": store_settings.secret_key.get_secret_value(),
        "SYNFARM_STORE_PREFIX": store_settings.prefix,
        "SYNFARM_RENDER_CAPABILITIES": '["one-s","two-s"]',
        "SYNFARM_RENDER_PORT": str(held.numbers[0]),
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        child = subprocess.Popen([sys.executable, Path(__file__).with_name("fake_worker.py")], env=env, stderr=out)
    try:
        end = time.monotonic() + 60
        while sum(1 for spec in specs for _ in store.list(layout.commits_prefix(spec.job))) < 2 * UNITS:
            assert child.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.05)
        metrics = httpx.get(f"http://127.0.0.1:{held.numbers[0]}/metrics").text
        assert "synfarm_render_model_loads_total 2.0" in metrics, "as the queues are named: 3, by turns: 12"
    finally:
        child.kill()
        child.wait()
        app.close()
        redis.close()
