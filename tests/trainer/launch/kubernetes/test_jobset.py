"""The JobSet that is made: valid, with the launcher's promises in it whatever a template says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jobset_schema import JobSet

from synfarm_trainer.launch.codes import ExitCode
from synfarm_trainer.launch.kubernetes.jobset import jobset_name, jobset_of, nodes_of
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"


def _made(settings: KubernetesSettings, ranks: int = 1, **changes: Any) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """(JobSet, its Job's spec, its container)."""
    settings = settings.model_copy(update=changes)
    jobset = jobset_of(RUN, 3, ranks, settings, settings.pod_template())
    JobSet.model_validate(jobset)
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    return jobset, job, next(c for c in job["template"]["spec"]["containers"] if c["name"] == "trainer")


@pytest.mark.parametrize(("ranks", "nodes"), [(1, 1), (8, 1), (16, 2), (12, 2), (9, 3), (11, 11)])
def test_ranks_are_shared_evenly_by_the_fewest_machines(ranks: int, nodes: int) -> None:
    assert nodes_of(ranks, 8) == nodes


def test_one_machine(settings: KubernetesSettings) -> None:
    jobset, job, container = _made(settings, 4)
    assert (jobset["metadata"]["name"], job["completions"]) == (jobset_name(RUN), 1)
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 4}}
    assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert "suspend" not in jobset["spec"]
    words = container["args"]
    assert words[:3] == ["python", "-m", "synfarm_trainer.launch"]
    assert "--new-attempt" in words, "pods may be replaced while no service looks"
    assert words[words.index("--grace") + 1] == "55", "ranks are ended before their pod is"
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] == 60


def test_machines_meet_at_the_first_pod_of_the_headless_service(settings: KubernetesSettings) -> None:
    _, job, container = _made(settings, 16)
    words = container["args"]
    assert (job["completions"], job["parallelism"], words[words.index("--nodes") + 1]) == (2, 2, "2")
    assert words[words.index("--endpoint") + 1] == f"run-{RUN}-ranks-0-0.run-{RUN}:29500"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 8


def test_what_the_cluster_asked_for_is_not_counted(settings: KubernetesSettings) -> None:
    jobset, job, _ = _made(settings)
    rules = job["podFailurePolicy"]["rules"]
    by_code = {code: rule["action"] for rule in rules for code in rule.get("onExitCodes", {}).get("values", [])}
    ignored = {ExitCode.STOPPED, ExitCode.TERMINATED}
    assert {code for code in ExitCode if by_code.get(code) == "Ignore"} == ignored
    assert not {ExitCode.CRASH, ExitCode.LOST_RANK} & by_code.keys(), "these count"
    assert by_code[ExitCode.NAN] == "FailJob"
    assert {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]} in rules
    assert jobset["spec"]["failurePolicy"]["rules"][0]["action"] == "FailJobSet"


def test_a_queue_gets_it_suspended(settings: KubernetesSettings) -> None:
    jobset, _, container = _made(settings, queue="research", gpus_per_rank=0)
    assert jobset["spec"]["suspend"] is True
    assert jobset["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert "resources" not in container


def test_a_template_is_laid_over_but_for_what_the_launcher_relies_on(
    settings: KubernetesSettings, tmp_path: Path
) -> None:
    template = {
        "metadata": {"annotations": {"team": "vision"}, "labels": {"synfarm.dev/run": "other"}},
        "spec": {
            "restartPolicy": "Always",
            "nodeSelector": {"gpu": "h200"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}}],
            "containers": [
                {"name": "trainer", "args": ["sh"], "resources": {"requests": {"cpu": 16}}, "env": [{"name": "A"}]},
            ],
        },
    }
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(template))
    _, job, container = _made(settings, template=tmp_path / "pod.yaml")
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {"gpu": "h200"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert pod["restartPolicy"] == "Never"
    assert [volume["name"] for volume in pod["volumes"]] == ["shm", "state"]
    assert pod["volumes"][0]["emptyDir"]["sizeLimit"] == "64Gi"
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": 16}}
    assert container["env"] == [{"name": "A"}]
    assert container["args"][0] == "python"
    assert job["template"]["metadata"]["labels"]["synfarm.dev/run"] == RUN
    (tmp_path / "pod.yaml").write_text("kind: Pod\nspec: {}\n")
    with pytest.raises(ValueError, match=r"SYNFARM_TRAINER_KUBERNETES_TEMPLATE: .*metadata and spec"):
        _made(settings, template=tmp_path / "pod.yaml")
