"""Prometheus and Grafana of the compose stack: off by default, on this machine only, everything from the repository."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from tests.observability.conftest import DEPLOY, ROOT


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    return loaded


def test_it_is_included_and_asked_for_by_its_profile(stack: dict[str, Any]) -> None:
    assert "\ninclude: [deploy/observability/compose.yml]\n" in (ROOT / "docker-compose.yml").read_text()
    assert {name: service["profiles"] for name, service in stack["services"].items()} == {
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }


def test_images_rights_and_ports(stack: dict[str, Any]) -> None:
    for name, service in stack["services"].items():
        assert re.fullmatch(r"(prom/prometheus:v|grafana/grafana:)\d+\.\d+\.\d+", service["image"]), name
        (port,) = service["ports"]
        assert re.fullmatch(r"127\.0\.0\.1:\$\{SYNFARM_PORT_\w+:-\d+\}:\d+", port), name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
        assert [volume.partition(":")[0] for volume in service["volumes"]] == [name]


def test_who_comes_without_a_login_looks_on_and_can_do_nothing_else(stack: dict[str, Any]) -> None:
    environment = stack["services"]["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


def test_every_file_is_given_where_it_is_looked_for(stack: dict[str, Any], dashboards: dict[str, Any]) -> None:
    files = {name: entry["file"] for name, entry in stack["configs"].items()}
    assert all((DEPLOY / file).is_file() for file in files.values())
    given = {
        files[config["source"]]: config["target"]
        for service in stack["services"].values()
        for config in service["configs"]
    }
    assert given.keys() == set(files.values())
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards.yml").read_text())["providers"][0]
    for name in dashboards:
        assert given[f"grafana/dashboards/{name}.json"] == f"{provider['options']['path']}/{name}.json"
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasource.yml").read_text())["datasources"][0]
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_every_replica_of_every_process_is_scraped(stack: dict[str, Any]) -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    compose, gpu = ((ROOT / name).read_text() for name in ("docker-compose.yml", "docker-compose.gpu.yml"))
    for job in jobs:
        (found,) = job["dns_sd_configs"]
        name, *others = found["names"]
        assert name == job["job_name"]
        # A name that most farms do not have is given whole: no domain of the machine is searched for it.
        assert others == (["vllm."] if name == "llm-server" else [])
        assert (found["type"], found["port"]) == ("A", 8000)
        assert f"\n  {name}:\n" in compose
        assert all(f"\n  {other.removesuffix('.')}:\n" in gpu for other in others)
