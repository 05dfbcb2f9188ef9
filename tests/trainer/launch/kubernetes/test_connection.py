"""Answers and silences of the API server: what is waited for, what is final, and that no start is doubled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_kubernetes import FakeApi

from synfarm_trainer.launch.devices import CLUSTER
from synfarm_trainer.launch.kubernetes.connection import Conflict, Connection, Missing, Refused
from synfarm_trainer.launch.kubernetes.jobset import jobset_name
from synfarm_trainer.launch.kubernetes.launcher import KubernetesLauncher
from synfarm_trainer.launch.kubernetes.reading import last_words, outcome_of_pods, standing
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings
from synfarm_trainer.launch.protocol import LauncherAway

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
NAME = jobset_name(RUN)


@pytest.fixture
def launcher(connection: Connection, settings: KubernetesSettings) -> KubernetesLauncher:
    return KubernetesLauncher(connection, settings)


REFUSALS: list[tuple[int, type[Exception], str]] = [
    (400, Refused, "refuses the object"),
    (401, LauncherAway, "TOKEN_FILE"),
    (403, LauncherAway, "create, get and delete of jobsets and list of pods"),
    (404, LauncherAway, "install JobSet"),
    (409, Conflict, "planned 409"),
    (410, LauncherAway, "answers 410"),
    (422, Refused, "planned 422"),
    (429, LauncherAway, "answers 429"),
    (500, LauncherAway, "answers 500"),
    (503, LauncherAway, "answers 503"),
]


def test_refusals(api: FakeApi, connection: Connection) -> None:
    for code, error, says in REFUSALS:
        api.answers = [code]
        with pytest.raises(error, match=says):
            connection.create({})


def test_no_server_and_no_token(api: FakeApi, connection: Connection, settings: KubernetesSettings) -> None:
    settings.token_file.write_text("another")
    with pytest.raises(LauncherAway, match="answers 401"):
        connection.get(NAME)
    settings.token_file.write_text("a-token")
    with pytest.raises(Missing):
        connection.get(NAME)
    api.stop()
    with pytest.raises(LauncherAway, match="does not answer"):
        connection.get(NAME)
    api.start()
    with pytest.raises(Missing):
        connection.get(NAME)


def test_a_start_is_made_once_though_its_answer_is_lost(api: FakeApi, launcher: KubernetesLauncher) -> None:
    api.lose_answer = True
    with pytest.raises(LauncherAway, match="504"):
        launcher.start(RUN, 4, 2, CLUSTER)
    child = launcher.start(RUN, 4, 2, CLUSTER)
    assert (child.attempt, list(api.jobsets)) == (4, [NAME])
    assert child.poll() is None
    # Another service, which opened an attempt of its own, follows the same one.
    other = launcher.start(RUN, 5, 2, CLUSTER)
    adopted = launcher.adopt(RUN)
    assert adopted is not None
    assert (other.attempt, adopted.attempt) == (4, 4)


def test_what_is_going_away_is_waited_for(api: FakeApi, launcher: KubernetesLauncher) -> None:
    child = launcher.start(RUN, 0, 1, CLUSTER)
    child.terminate()
    assert api.bodies[0]["propagationPolicy"] == "Foreground"
    for wait in (child.kill, lambda: launcher.adopt(RUN), lambda: launcher.clear(RUN)):
        with pytest.raises(LauncherAway, match=NAME):
            wait()
    with pytest.raises(LauncherAway, match="still being deleted"):
        launcher.start(RUN, 1, 1, CLUSTER)
    api.let_go(NAME)
    child.kill()
    outcome = child.poll()
    assert outcome is not None
    assert outcome.ending == "stopped"
    assert launcher.clear(RUN) == 0
    assert launcher.adopt(RUN) is None


def test_an_answer_that_is_no_object_is_no_news(launcher: KubernetesLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a proxy in between."""
    answer = httpx.Response(502, json=["bad gateway"])
    monkeypatch.setattr(httpx.Client, "request", lambda *_, **__: answer)
    with pytest.raises(LauncherAway, match="sends no JSON object"):
        launcher.adopt(RUN)


def test_deleted_by_someone_else(api: FakeApi, launcher: KubernetesLauncher) -> None:
    child = launcher.start(RUN, 0, 1, CLUSTER)
    api.jobsets.clear()
    launcher.start(RUN, 1, 1, CLUSTER)
    outcome = child.poll()
    assert outcome is not None
    assert (outcome.ending, "deleted by someone else" in (outcome.reason or "")) == ("crashed", True)


def _pod(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "message": message, "reason": reason}}
    return {"status": {"containerStatuses": [{"name": "trainer", "state": state}]}}


NAN = '{"reason": "nan", "detail": "at step 3"}'
LOST = '{"reason": "lost_rank", "detail": "closed by peer"}'


@pytest.mark.parametrize(
    ("pods", "ending", "reason"),
    [
        ([_pod(81, LOST), _pod(80, NAN)], "failed", "nan: at step 3"),
        ([_pod(81, LOST), _pod(1, "Traceback\nboom")], "crashed", "crash"),
        ([_pod(75), _pod(81, LOST)], "crashed", "lost_rank: closed by peer"),
        ([_pod(137, reason="OOMKilled")], "crashed", "lost_rank: a pod was killed (OOMKilled)"),
        ([_pod(126, reason="ContainerCannotRun")], "crashed", "crash: a pod ended with exit code 126"),
        ([_pod(0), _pod(78)], "failed", "config"),
        ([], "crashed", "crash: the JobSet failed: too many restarts"),
    ],
)
def test_the_pod_that_tells_the_cause_is_believed(pods: list[dict[str, Any]], ending: str, reason: str) -> None:
    outcome = outcome_of_pods(pods, "too many restarts")
    assert outcome.ending == ending
    assert (outcome.reason or "").startswith(reason)


def test_last_words_are_of_the_pod_without_a_reason() -> None:
    assert last_words([_pod(81, LOST), _pod(1, "Traceback\nboom")]) == "Traceback\nboom"
    assert last_words([_pod(0, "fine"), _pod(81, LOST)]) == ""


def test_why_it_does_not_run() -> None:
    suspended = {"status": {"conditions": [{"type": "Suspended", "status": "True", "message": "preempted"}]}}
    assert standing(suspended, []) == "the cluster has suspended it: preempted"
    assert standing({"spec": {"suspend": True}}, []) == "waits for its turn in the cluster's queue"
    nowhere = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}
    assert standing({}, [{"status": nowhere}]) == "no machine takes a pod: 0/3 nodes"
    pull = {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}]}
    assert standing({}, [{"status": pull}]) == "a pod waits: ImagePullBackOff no such tag"
    assert standing({}, [{"status": {"containerStatuses": [{"state": {"running": {}}}]}}]) is None


def test_settings_that_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    bare = KubernetesSettings(image="x", namespace_file=tmp_path / "none")
    with pytest.raises(ValueError, match="SYNFARM_TRAINER_KUBERNETES_URL"):
        Connection(bare)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(ValueError, match="SYNFARM_TRAINER_KUBERNETES_NAMESPACE"):
        Connection(bare)
