"""The JobSets that a trainer with these manifests' own settings makes."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from unittest import mock

from tests.k8s.manifests import Manifests, Object, Workload
from tests.k8s.policies.references import asks_cluster

from synfarm_trainer.launch.kubernetes.jobset import jobset_of
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"


def with_runs(manifests: Manifests) -> Manifests:
    """What is in the cluster while a run on two machines trains."""
    made = [_run(manifests, workload) for workload in manifests.workloads if asks_cluster(manifests, workload)]
    return Manifests([*manifests.things, *made])


def _run(manifests: Manifests, workload: Workload) -> Object:
    given = manifests.environment(workload.mains[0])
    told = {name: value for name, value in given.items() if value is not None}
    with TemporaryDirectory() as folder:
        template = told.pop("SYNFARM_TRAINER_KUBERNETES_TEMPLATE", None)
        if template is not None:
            path = Path(folder) / "pod.yaml"
            path.write_text(_mounted(manifests, workload, template))
            told["SYNFARM_TRAINER_KUBERNETES_TEMPLATE"] = str(path)
        with mock.patch.dict(os.environ, told, clear=True):
            settings = KubernetesSettings()
        return jobset_of(RUN, 1, 2 * settings.ranks_per_node, settings, settings.pod_template())


def _mounted(manifests: Manifests, workload: Workload, path: str) -> str:
    """What the trainer's container finds in a file that comes from a ConfigMap."""
    place = PurePosixPath(path)
    mount = next(each for each in workload.mains[0]["volumeMounts"] if place.is_relative_to(each["mountPath"]))
    volume = next(each for each in workload.pod["volumes"] if each["name"] == mount["name"])
    config = manifests.find("ConfigMap", volume["configMap"]["name"])
    assert config is not None, f"{workload.name}: {path} comes from {volume['configMap']['name']}, which is not there"
    text: str = config["data"][place.name]
    return text
