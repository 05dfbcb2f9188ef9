"""Settings that our processes know, and values that they take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest import mock

from pydantic import ValidationError
from pydantic_settings import BaseSettings
from tests.k8s.manifests import Manifests, Workload, module_of
from tests.k8s.settings_of import known_to
from tests.k8s.told import environment

from synfarm.settings import AuthSettings, ProcessSettings, RedisSettings, StoreSettings
from synfarm_caption_api.feeder.settings import FeederSettings
from synfarm_caption_api.settings import ApiSettings, WebSettings, WorkerSettings
from synfarm_caption_api.settings import LlmSettings as CaptionLlmSettings
from synfarm_llm_server.settings import LlmSettings
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings
from synfarm_trainer.settings import TrainerSettings

_SHARED: list[type[BaseSettings]] = [ProcessSettings, StoreSettings, RedisSettings, AuthSettings]
_READ: dict[str, list[type[BaseSettings]]] = {
    "synfarm.storage": [ProcessSettings, StoreSettings],
    "synfarm.housekeeping": [ProcessSettings, StoreSettings],
    "synfarm_caption_api": [*_SHARED, ApiSettings, WebSettings, CaptionLlmSettings, FeederSettings],
    "synfarm_caption_api.worker": [*_SHARED, WorkerSettings, CaptionLlmSettings],
    "synfarm_render_worker": [*_SHARED, RenderWorkerSettings],
    "synfarm_trainer": [*_SHARED, TrainerSettings],
    "synfarm_llm_server": [ProcessSettings, AuthSettings, LlmSettings],
}
_STORE = {"SYNFARM_STORE_ENDPOINT", "SYNFARM_STORE_ACCESS_KEY", "SYNFARM_STORE_SECRET_KEY", "SYNFARM_STORE_BUCKET"}
_FARM = {*_STORE, "SYNFARM_REDIS_URL"}
_NEEDED = {
    "synfarm.storage": _STORE,
    "synfarm.housekeeping": _STORE,
    "synfarm_caption_api": {*_FARM, "SYNFARM_CAPTION_LLM_URL", "SYNFARM_CAPTION_API_TRAINER_URL"},
    "synfarm_caption_api.worker": {*_FARM, "SYNFARM_CAPTION_LLM_URL"},
    "synfarm_render_worker": _FARM,
    "synfarm_trainer": _STORE,
    "synfarm_trainer.launch": _STORE,
}
_APIS = {"synfarm_caption_api", "synfarm_trainer"}


def known_settings(manifests: Manifests) -> Iterator[str]:
    """Each SYNFARM_* name is a field of a class that this very process reads: a misspelt one would be ignored."""
    for workload in manifests.workloads:
        for container in workload.containers:
            module = module_of(container)
            given = {name for name in environment(manifests, container) if name.startswith("SYNFARM_")}
            if given and module is None:
                yield f"{workload.name}: {container['name']}: {sorted(given)[0]} is given to an image that is not ours"
            elif module is not None:
                for name in sorted(given - known_to(module)):
                    yield f"{workload.name}: {container['name']}: {name} is no setting of {module}"


def usable_values(manifests: Manifests) -> Iterator[str]:
    """The process would start with them."""
    for workload, module, given in _processes(manifests):
        classes = list(_READ.get(module, []))
        if given.get("SYNFARM_TRAINER_LAUNCHER") == "kubernetes":
            classes.append(KubernetesSettings)
        told = {name: value for name, value in given.items() if value is not None}
        with mock.patch.dict(os.environ, told, clear=True):
            for settings in classes:
                try:
                    settings()
                except ValidationError as error:
                    first = error.errors()[0]
                    prefix = settings.model_config.get("env_prefix") or ""
                    where = f"{prefix}{'.'.join(map(str, first['loc']))}".upper()
                    yield f"{workload.name}: {where}: {first['msg']}"


def settings_given(manifests: Manifests) -> Iterator[str]:
    """What has a developer's own machine as its default is told to every process that uses it."""
    for workload in manifests.workloads:
        for container in workload.mains:
            given = {name for name, value in environment(manifests, container).items() if value != ""}
            for name in sorted(_NEEDED.get(module_of(container) or "", set()) - given):
                yield f"{workload.name}: is not given {name}"


def keys_asked_for(manifests: Manifests) -> Iterator[str]:
    """In a cluster every pod may reach an API, and without keys whoever reaches one is an administrator."""
    for workload, module, given in _processes(manifests):
        if module in _APIS and given.get("SYNFARM_AUTH") == "off":
            yield f"{workload.name}: SYNFARM_AUTH is off"
        listens = module in {*_APIS, "synfarm_llm_server"}
        if listens and given.get("SYNFARM_AUTH") != "off" and not given.get("SYNFARM_AUTH_KEYS_FILE"):
            yield f"{workload.name}: has no SYNFARM_AUTH_KEYS_FILE, so that it refuses to listen"


def one_image_of_runs(manifests: Manifests) -> Iterator[str]:
    """Ranks run what their service runs: kustomize sets images, and knows nothing of a setting that names one."""
    for workload in manifests.workloads:
        for container in workload.mains:
            image = manifests.environment(container).get("SYNFARM_TRAINER_KUBERNETES_IMAGE")
            if image is not None and image != container["image"]:
                yield f"{workload.name}: runs {container['image']}, and its ranks {image}"


def _processes(manifests: Manifests) -> Iterator[tuple[Workload, str, dict[str, str | None]]]:
    for workload in manifests.workloads:
        for container in workload.mains:
            if (module := module_of(container)) is not None:
                yield workload, module, manifests.environment(container)
