"""docker-compose.gpu.yml: who has which GPU, whose weights are where, and who is given a token. No Docker is needed."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.compose.merging import filled, stack

from synfarm_caption_api.settings import LlmSettings
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_trainer.settings import TrainerSettings

FILES = ("docker-compose.yml", "docker-compose.gpu.yml")
OVERLAYS = tuple(f"docker-compose.{name}.yml" for name in ("seaweedfs", "keys", "gpu", "replicas"))
ON_GPUS = {"llm-server", "vllm", "render-worker", "trainer"}
SETTINGS = {
    "render-worker": RenderWorkerSettings,
    "trainer": TrainerSettings,
    "caption-worker": LlmSettings,
    "caption-api": LlmSettings,
}


@pytest.fixture(scope="module")
def gpu(root: Path) -> dict[str, Any]:
    """Services of both files, variables at their defaults."""
    services: dict[str, Any] = filled(stack(root, *FILES))
    return services


@pytest.fixture(scope="module")
def script(root: Path) -> Mapping[str, Any]:
    return runpy.run_path(str(root / "scripts" / "compose_gpus.py"))


def devices(service: Mapping[str, Any]) -> list[str] | None:
    """The GPUs that a service reserves; each reservation must name them."""
    reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
    if reserved is None:
        return None
    (one,) = reserved
    assert one.keys() == {"driver", "device_ids", "capabilities"}, "a count would give all replicas the same GPUs"
    assert (one["driver"], one["capabilities"]) == ("nvidia", ["gpu"])
    found: list[str] = one["device_ids"]
    return found


def test_who_computes_on_a_gpu_names_it_and_nobody_else_has_one(gpu: dict[str, Any]) -> None:
    assert {name for name, service in gpu.items() if devices(service)} == ON_GPUS
    for name in ON_GPUS:
        assert gpu[name]["environment"]["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID", name


def test_foreign_images_are_pinned(root: Path) -> None:
    for file in OVERLAYS:
        for name, service in filled(stack(root, "docker-compose.yml", file)).items():
            repository, _, tag = service["image"].rpartition(":")
            if not repository.startswith("synfarm/"):
                assert re.search(r"\d", tag), f"{file}: {name}: {service['image']}"


def test_the_servers_of_language_models_are_what_they_say(gpu: dict[str, Any]) -> None:
    tgi, vllm = gpu["llm-server"], gpu["vllm"]
    assert tgi["image"] == "ghcr.io/huggingface/text-generation-inference:3.3.7"
    assert "build" not in tgi
    assert not [name for name in tgi["environment"] if name.startswith("SYNFARM_")], "it is not ours any more"
    assert "REVISION" not in tgi["environment"], "with a revision its router asks the hub"
    assert vllm["profiles"] == ["vllm"]
    assert gpu["caption-worker"]["depends_on"]["vllm"] == {"condition": "service_healthy", "required": False}
    # All that the shell fills in is given, and two dollars reach it as one.
    used = set(re.findall(r"\$\$(\w+)", vllm["command"][0]))
    assert used <= vllm["environment"].keys()
    assert "$" not in vllm["command"][0].replace("$$", "")


def test_nothing_but_weights_reaches_the_hub_or_is_given_its_token(gpu: dict[str, Any]) -> None:
    for name in ("llm-server", "vllm", "render-worker"):
        assert gpu[name]["environment"]["HF_HUB_OFFLINE"] == "1", name
    assert {name for name, service in gpu.items() if "hf_token" in service.get("secrets", [])} == {"weights"}
    weights = gpu["weights"]["environment"]
    assert weights["HF_TOKEN_PATH"] == "/run/secrets/hf_token"
    assert not {"HF_HUB_OFFLINE", "SYNFARM_STORE_SECRET_KEY", "SYNFARM_REDIS_URL"} & weights.keys()


@pytest.mark.parametrize("file", OVERLAYS)
def test_no_token_stands_in_an_environment(root: Path, file: str) -> None:
    """What stands there is shown by `docker inspect`; the store's keys alone do, as .env says them."""
    for name, service in stack(root, "docker-compose.yml", file).items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"TOKEN(?!S)|PASSWORD|SECRET|KEY", variable) and not variable.endswith(("_FILE", "_PATH")):
                assert re.fullmatch(r"\$\{SYNFARM_STORE_(ACCESS|SECRET)_KEY:-\w+\}", value), f"{name}: {variable}"


def within(service: Mapping[str, Any], path: str, volume: str = "models") -> str:
    """Where a path of the container lies on the volume."""
    targets = [mount.split(":")[1] for mount in service["volumes"] if mount.startswith(f"{volume}:")]
    (target,) = [target for target in targets if path.startswith(target + "/")]
    return path.removeprefix(target)


@pytest.mark.parametrize("given", [{}, {"SYNFARM_GPU_LLM": "a/b", "SYNFARM_GPU_LLM_REVISION": "0" * 40}])
def test_what_is_fetched_is_what_is_loaded(root: Path, given: dict[str, str]) -> None:
    services = filled(stack(root, *FILES), **given)
    command = services["weights"]["command"]
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert command[:3] == ["python", "-m", "synfarm_render_worker.weights"]
    fetched = within(services["weights"], f"{options['--llm-folder']}/{options['--llm']}")
    tgi, vllm = services["llm-server"], services["vllm"]
    assert within(tgi, tgi["environment"]["MODEL_ID"]) == fetched
    assert within(vllm, f"/models/llm/{vllm['environment']['MODEL']}") == fetched
    for server in (tgi, vllm):
        assert "models:/models:ro" in server["volumes"]
    assert services["render-worker"]["environment"]["SYNFARM_RENDER_PRELOAD"] == options["--pipeline"]
    for pinned in (options["--llm"], options["--pipeline"]):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", pinned)


def test_the_settings_are_taken(gpu: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, settings in SETTINGS.items():
        environment = {key: value for key, value in gpu[name]["environment"].items() if key.startswith("SYNFARM_")}
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        read = settings()
        if isinstance(read, RenderWorkerSettings):
            assert read.preloaded is not None
            assert read.preloaded.capability in read.capabilities
        prefix = str(settings.model_config["env_prefix"])
        ours = {key for key in environment if key.startswith(prefix)}
        assert ours <= {(prefix + field).upper() for field in settings.model_fields}, name
        for key in environment:
            monkeypatch.delenv(key)


def test_gpus_are_handed_out(root: Path, tmp_path: Path, script: Mapping[str, Any]) -> None:
    text = script["overlay"](["0"], ["1", "2", "3"], [["4", "5"], ["7", "6"]])
    for file in FILES:
        shutil.copy(root / file, tmp_path)
    (tmp_path / "gpus.yml").write_text(text)
    services = filled(stack(tmp_path, *FILES, "gpus.yml"))
    assert {name: found for name, service in services.items() if (found := devices(service))} == {
        "llm-server": ["0"],
        "vllm": ["0"],
        "render-worker": ["1"],
        "render-worker-n2": ["2"],
        "render-worker-n3": ["3"],
        "trainer": ["4", "5", "7", "6"],
    }
    assert services["trainer"]["environment"]["SYNFARM_TRAINER_DEVICES"] == "0,1;3,2"
    first, second = services["render-worker"], services["render-worker-n2"]
    apart = {"deploy", "build", "networks", "extends"}
    assert {k: v for k, v in first.items() if k not in apart} == {k: v for k, v in second.items() if k not in apart}
    assert second["networks"] == {"default": {"aliases": ["render-worker"]}}


def test_gpus_by_name_keep_it_in_the_container(script: Mapping[str, Any]) -> None:
    assert script["sets_inside"]([["GPU-b"], ["GPU-a", "GPU-c"]]) == "GPU-b;GPU-a,GPU-c"
    assert script["sets_inside"]([["10"], ["2", "7"]]) == "2;0,1"
    with pytest.raises(ValueError, match="mixed"):
        script["sets_inside"]([["GPU-a", "1"]])


def test_shards_follow_the_gpus_of_the_language_model(script: Mapping[str, Any], tmp_path: Path) -> None:
    (tmp_path / "gpus.yml").write_text(script["overlay"](["0", "1"], ["2"], [["3"]]))
    services = stack(tmp_path, "gpus.yml")
    assert [services[name]["environment"]["NUM_SHARD"] for name in ("llm-server", "vllm")] == ["2", "2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--llm", "0", "--render", "1,1", "--trainer", "2"], "GPU 1 is named twice"),
        (["--llm", "0", "--render", "1", "--trainer", "2;2"], "GPU 2 is named twice"),
        (["--llm", "all", "--render", "1", "--trainer", "2"], "'all' is no GPU"),
        (["--llm", "0", "--render", "1", "--trainer", "2,GPU-a"], "mixed"),
    ],
)
def test_what_cannot_be_handed_out(
    script: Mapping[str, Any], arguments: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        script["main"](arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_shared_gpu_is_told(script: Mapping[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert script["main"](["--llm", "0", "--render", "0,1", "--trainer", "1"]) == 0
    told = capsys.readouterr().err
    assert re.findall(r"GPU (\d) is shared by ([a-z, ]+):", told) == [("0", "llm, render"), ("1", "render, trainer")]


@pytest.fixture
def config(root: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What `docker compose config` makes of files, in a copy of the repository's; skips without the command."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")

    def asked(*files: str, profiles: Sequence[str] = (), **environment: str) -> dict[str, Any]:
        for file in root.glob("docker-compose*.yml"):
            shutil.copy(file, tmp_path)
        # docker-compose.yml includes a file of it.
        shutil.copytree(root / "deploy", tmp_path / "deploy", dirs_exist_ok=True)
        options = [word for file in files for word in ("--file", file)]
        options += [word for profile in profiles for word in ("--profile", profile)]
        foreign = ("SYNFARM_", "HF_", "COMPOSE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        done = subprocess.run(
            [docker, "compose", "--env-file", os.devnull, *options, "config", "--format", "json"],
            cwd=tmp_path,
            env={**kept, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found: dict[str, Any] = json.loads(done.stdout)["services"]
        return found

    return asked


def test_compose_merges_as_these_tests_do(
    root: Path, tmp_path: Path, script: Mapping[str, Any], config: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "gpus.yml").write_text(script["overlay"](["0"], ["1", "2"], [["3"], ["4"]]))
    said = config(*FILES, "gpus.yml", profiles=["vllm", "weights"])
    for file in FILES:
        shutil.copy(root / file, tmp_path)
    ours = filled(stack(tmp_path, *FILES, "gpus.yml"))
    assert said.keys() == ours.keys()
    for name, service in said.items():
        environment = {key: str(value) for key, value in (service.get("environment") or {}).items()}
        assert environment == ours[name].get("environment", {}), name
        assert service["image"] == ours[name]["image"]
        assert ("build" in service) == ("build" in ours[name]), name
        mounts = [f"{mount['source']}:{mount['target']}" for mount in service.get("volumes", [])]
        assert mounts == [volume.removesuffix(":ro") for volume in ours[name].get("volumes", [])], name
        assert service.get("tmpfs", []) == ours[name].get("tmpfs", []), name
        assert (service.get("read_only") or False) == ours[name].get("read_only", False), name
        reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
        assert (reserved[0]["device_ids"] if reserved else None) == devices(ours[name]), name
    assert said["render-worker"]["build"]["args"]["RENDERER"] == "diffusers"


def test_vllm_takes_the_place_of_tgi_by_four_settings(config: Callable[..., dict[str, Any]], root: Path) -> None:
    guide = (root / "docs" / "07-gpus.md").read_text()
    settings = dict(re.findall(r"^(COMPOSE_PROFILES|SYNFARM_TGI_REPLICAS|SYNFARM_CAPTION_LLM_\w+)=(\S+)$", guide, re.M))
    assert len(settings) == 4
    said = config(*FILES, **settings)
    assert said["llm-server"]["deploy"]["replicas"] == 0
    for name in ("caption-api", "caption-worker"):
        environment = said[name]["environment"]
        assert environment["SYNFARM_CAPTION_LLM_URL"] == "http://vllm:8000"
        assert environment["SYNFARM_CAPTION_LLM_API"] == "completions"
    assert "vllm" in said
