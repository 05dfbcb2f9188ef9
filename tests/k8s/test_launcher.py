"""JobSets of the launcher in all its forms are such as a server takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.k8s.runs import RUN
from tests.k8s.schemas import faults_of

from synfarm_trainer.launch.kubernetes.jobset import jobset_of
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings

TEMPLATE = {
    "metadata": {"annotations": {"team": "vision"}},
    "spec": {
        "nodeSelector": {"gpu": "h200"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}}],
        "containers": [{"name": "trainer", "resources": {"requests": {"cpu": 16}}, "env": [{"name": "NCCL_DEBUG"}]}],
    },
}


@pytest.mark.parametrize("ranks", [1, 8, 24])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"queue": "research", "gpus_per_rank": 0},
        {"secret": "store", "service_account": "ranks", "restarts": 3, "shared_memory": "1Gi"},
        {"template": TEMPLATE},
    ],
    ids=["plain", "queue", "names", "template"],
)
def test_every_field_is_known(tmp_path: Path, ranks: int, given: dict[str, Any]) -> None:
    settings = KubernetesSettings(image="synfarm/trainer:1", **{**given, "template": None})
    if "template" in given:
        (tmp_path / "pod.yaml").write_text(yaml.safe_dump(given["template"]))
        settings = settings.model_copy(update={"template": tmp_path / "pod.yaml"})
    jobset = jobset_of(RUN, 1, ranks, settings, settings.pod_template())
    jobset["metadata"].setdefault("namespace", "farm")
    assert faults_of(jobset) == []


def test_a_template_with_a_misspelt_field_is_found(tmp_path: Path) -> None:
    settings = KubernetesSettings(image="synfarm/trainer:1")
    jobset = jobset_of(RUN, 1, 1, settings, {"spec": {"nodeselector": {"gpu": "h200"}}})
    assert any("nodeselector" in fault for fault in faults_of(jobset))
