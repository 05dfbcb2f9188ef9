"""What an autoscaler asks: units that wait or are in work, by what serves them, the same from every replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobSpec, Lane
from synfarm.contracts.renders import Stage
from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.app import make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.keys import Keys
from synfarm.settings import RedisSettings
from synfarm_caption_api.api.work_metrics import WorkCollector, units_of_work

pytestmark = pytest.mark.integration
KEYS = Keys("test")


def live(redis: Redis, name: str, kind: str, *units: str, **more: Any) -> None:
    info = WorkerInfo(id=name, kind=kind, units=units, started_at=utc_now(), **more)  # type: ignore[arg-type]
    redis.sadd(KEYS.workers, info.id)
    redis.set(KEYS.worker(info.id), info.to_bytes(), px=60_000)


@pytest.fixture
def dispatch(redis: Redis, redis_url: str) -> Dispatcher:
    settings = RedisSettings(url=SecretStr(redis_url), namespace=KEYS.namespace)
    return Dispatcher(make_app(settings), Board(redis, KEYS, RedisClock(redis)))


def test_a_farm_without_work_says_so_for_both_kinds(redis: Redis) -> None:
    assert units_of_work(redis, KEYS) == {"caption": 0, "render": 0}


def test_waiting_and_working_units_count_by_what_serves_them(
    redis: Redis, dispatch: Dispatcher, make_spec: Callable[..., JobSpec]
) -> None:
    spec = make_spec()
    for unit, lane in enumerate((Lane.HIGH, Lane.NORMAL, Lane.NORMAL)):
        dispatch.send(spec, unit, Stage.CAPTION, lane=lane)
    dispatch.send(spec, 3, Stage.RENDER)
    other = make_spec(render={"renderer": "diffusers", "model": "a/b", "revision": "c", "family": "sd15", "size": 512})
    dispatch.send(other, 4, Stage.RENDER)
    live(redis, "c", "caption", "job/5", "job/6", slots=8)
    live(redis, "r", "render", "job/7", capabilities=("collage-s", "collage-m"))
    found = units_of_work(redis, KEYS)
    assert found == {"caption": 5, "render": 3, "collage-s": 2, "collage-m": 1, "sd15-m": 1}, "a unit may count twice"


def test_jobs_of_a_newer_contract_are_work_for_the_same_workers(
    redis: Redis, dispatch: Dispatcher, make_spec: Callable[..., JobSpec]
) -> None:
    spec = make_spec()
    newer = spec.model_copy(update={"schema_version": 2})
    for unit, of in enumerate((spec, newer)):
        dispatch.send(of, unit, Stage.CAPTION)
        dispatch.send(of, unit, Stage.RENDER)
    live(redis, "c", "caption", "job/5", reads=(1, 2))
    live(redis, "r", "render", "job/7", capabilities=("collage-s",), reads=(1, 2))
    assert units_of_work(redis, KEYS) == {"caption": 3, "render": 3, "collage-s": 3}, "an autoscaler names no contract"


def test_the_exposition_has_the_samples_that_the_autoscaler_names(redis: Redis) -> None:
    registry = CollectorRegistry()
    registry.register(WorkCollector(redis, KEYS))
    text = generate_latest(registry).decode()
    assert 'synfarm_work_units{serves="caption"} 0.0' in text
    assert 'synfarm_work_units{serves="render"} 0.0' in text


def test_no_answer_is_not_no_work(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise RedisAway("gone")

    monkeypatch.setattr(redis, "hkeys", away)
    registry = CollectorRegistry()
    registry.register(WorkCollector(redis, KEYS))
    assert "synfarm_work_units{" not in generate_latest(registry).decode()


def test_names_from_jobs_do_not_become_labels_without_end(redis: Redis) -> None:
    for number in range(150):
        redis.hset(KEYS.sequences, f"render.family{number}-m.normal", 1)
    redis.rpush(KEYS.queue("render.family149-m.normal"), "message")
    found = units_of_work(redis, KEYS)
    assert len(found) == 102
    assert found["family149-m"] == 1, "what has work is told first"
