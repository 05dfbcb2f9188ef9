"""Composition root of the trainer service: settings in, a wired FastAPI application out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response

from synfarm.auth import Authenticator
from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from synfarm.storage.protocol import ObjectStore, StoreUnavailable
from synfarm.telemetry import get_logger
from synfarm.web import install
from synfarm_trainer.api.artifacts import artifacts_router
from synfarm_trainer.api.curve import RunCurve
from synfarm_trainer.api.describing import describe
from synfarm_trainer.api.following import OpenTail
from synfarm_trainer.api.journal import JournalTail
from synfarm_trainer.api.keeping import Keeping, RunnerLimits
from synfarm_trainer.api.metrics_parts import MetricsParts
from synfarm_trainer.api.newest_weights import NewestWeights
from synfarm_trainer.api.operations import operations_router
from synfarm_trainer.api.placement import Placement
from synfarm_trainer.api.presets import presets_router
from synfarm_trainer.api.records import RecordMalformed, RunRecords, new_ulid
from synfarm_trainer.api.routes import RunRoutes
from synfarm_trainer.api.runner import Runner
from synfarm_trainer.api.store_tail import StoreTail
from synfarm_trainer.api.stream import EventHub
from synfarm_trainer.api.submission import Submission
from synfarm_trainer.api.views import RunViews
from synfarm_trainer.config import to_dict
from synfarm_trainer.launch.devices import CLUSTER, DeviceSet, parse_devices
from synfarm_trainer.launch.files import RunFiles
from synfarm_trainer.launch.leases import Leases
from synfarm_trainer.launch.local import LocalLauncher
from synfarm_trainer.launch.protocol import Launcher
from synfarm_trainer.presets import resolve
from synfarm_trainer.settings import TrainerSettings

__all__ = ["build_app"]

_log = get_logger(__name__)


def _resolve(preset: str, overrides: Mapping[str, object]) -> dict[str, Any]:
    return to_dict(resolve(preset, overrides))


class _Place(NamedTuple):
    """Where runs are computed."""

    launcher: Launcher
    sets: tuple[DeviceSet, ...]
    open_tail: OpenTail


def _on_this_machine(settings: TrainerSettings, files: RunFiles) -> _Place:
    launcher = LocalLauncher(files, grace=settings.grace_seconds)
    sets = parse_devices(settings.devices)
    return _Place(launcher, sets, lambda run, attempt: JournalTail(files.journal(run, attempt)))


def _in_cluster(records: RunRecords, parts: MetricsParts) -> _Place:
    from synfarm_trainer.launch.kubernetes.connection import Connection
    from synfarm_trainer.launch.kubernetes.launcher import KubernetesLauncher
    from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings

    cluster = KubernetesSettings()
    launcher, seconds = KubernetesLauncher(Connection(cluster), cluster), cluster.poll_seconds
    sets = (CLUSTER,) * cluster.runs
    return _Place(launcher, sets, lambda run, attempt: StoreTail(records, parts, run, attempt, seconds))


def build_app(
    settings: TrainerSettings,
    store: ObjectStore,
    authenticate: Authenticator,
    *,
    launcher: Launcher | None = None,
) -> FastAPI:
    """The service over ``store``; the runner starts and ends with the application.

    Raises:
        OSError, ValueError: the settings cannot be served; the message names the one to correct.
    """
    files = RunFiles(settings.state_dir.resolve())
    hub = EventHub(new_ulid())
    records = RunRecords(store)
    limits = RunnerLimits(
        barren_restarts=settings.barren_restarts,
        backoff=settings.backoff_seconds,
        grace=settings.grace_seconds,
        shutdown_grace=settings.shutdown_grace_seconds,
    )
    parts = MetricsParts(store)
    place = _in_cluster(records, parts) if settings.launcher == "kubernetes" else _on_this_machine(settings, files)
    placement = Placement(place.sets, settings.max_ranks)
    tools = Keeping(
        records=records, launcher=launcher or place.launcher, hub=hub, open_tail=place.open_tail, limits=limits
    )
    leases = Leases(settings.lease_dir)
    leases.prove(place.sets)
    runner = Runner(tools, placement, leases)
    curve = RunCurve(records, parts, files, runner.follows)
    views = RunViews(records, runner, curve, NewestWeights(records))
    submission = Submission(store, records, _resolve, placement, runner.look_after)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        runner.start()
        try:
            yield
        finally:
            runner.close()

    app = FastAPI(title="synfarm trainer", version="1", lifespan=lifespan)
    install(app, authenticate, body_limit=settings.body_limit)

    @app.exception_handler(StoreUnavailable)
    async def _away(request: Request, error: StoreUnavailable) -> Response:
        _log.error("store_failed", path=request.url.path, error=str(error))
        problem = Problem(
            title="store unavailable",
            status=503,
            detail="The object store does not answer as it should.",
            code="store_unavailable",
            hint="Send the request again in some seconds; GET /readyz tells when the store is back.",
        )
        return Response(problem.to_bytes(), 503, {"Retry-After": "5"}, PROBLEM_MEDIA_TYPE)

    @app.exception_handler(RecordMalformed)
    async def _malformed(_: Request, error: RecordMalformed) -> Response:
        problem = Problem(
            title="record malformed",
            status=500,
            detail=str(error)[:500],
            code="record_malformed",
            hint="Restore the object that is named from a backup; a run that is not needed any more may be removed.",
        )
        return Response(problem.to_bytes(), 500, media_type=PROBLEM_MEDIA_TYPE)

    app.include_router(operations_router(store, runner, settings.health_age_seconds))
    app.include_router(presets_router())
    app.include_router(RunRoutes(records, runner, views, hub, submission, settings.heartbeat_seconds).router())
    app.include_router(artifacts_router(records))
    describe(app)
    return app
