"""The launcher for a cluster. JobSets outlive the service, which adopts them when it comes back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from synfarm.telemetry import get_logger
from synfarm_trainer.launch.codes import ExitCode
from synfarm_trainer.launch.devices import DeviceSet
from synfarm_trainer.launch.kubernetes.connection import Conflict, Connection, Missing
from synfarm_trainer.launch.kubernetes.jobset import ATTEMPT, jobset_name, jobset_of
from synfarm_trainer.launch.kubernetes.reading import ended, last_words, outcome_of_pods, standing
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings
from synfarm_trainer.launch.outcome import Outcome, outcome_of
from synfarm_trainer.launch.protocol import LauncherAway

__all__ = ["JobSetChild", "KubernetesLauncher"]

_log = get_logger(__name__)


class JobSetChild:
    """One JobSet, looked at from time to time. Loss of the API server is no news of the run."""

    def __init__(self, connection: Connection, jobset: Mapping[str, Any], poll_seconds: float) -> None:
        meta = jobset["metadata"]
        self._connection, self._name, self._uid = connection, meta["name"], meta.get("uid")
        self._distance, self._looked = poll_seconds, 0.0
        self._deleted, self._last = False, ""
        self._outcome: Outcome | None = None
        self.attempt = int(meta.get("labels", {}).get(ATTEMPT, 0))
        self.standing: str | None = None

    def poll(self) -> Outcome | None:
        if self._outcome is None and time.monotonic() - self._looked >= self._distance:
            try:
                self._outcome = self._look()
            except LauncherAway as error:
                if self.standing != str(error):
                    _log.warning("cluster_away", jobset=self._name, error=str(error))
                self.standing = str(error)
            self._looked = time.monotonic()
        return self._outcome

    def terminate(self) -> None:
        try:
            self._connection.delete(self._name)
            self._deleted = True
        except Missing:
            self._deleted = True
        except (LauncherAway, Conflict) as error:
            # Asked again by kill, when the grace period of the service is over.
            _log.warning("cluster_away", jobset=self._name, error=str(error))
        self._looked = 0.0

    def kill(self) -> None:
        self._deleted = True
        _remove(self._connection, self._name)

    def last_lines(self) -> str:
        return self._last

    def _look(self) -> Outcome | None:
        try:
            jobset = self._connection.get(self._name)
        except Missing:
            jobset = {}
        if not jobset or jobset["metadata"].get("uid") != self._uid:
            if self._deleted:
                return outcome_of(ExitCode.STOPPED)
            return outcome_of(ExitCode.CRASH, f"the JobSet {self._name} was deleted by someone else")
        end = ended(jobset)
        if end is not None and end[0] == "Completed":
            return outcome_of(ExitCode.COMPLETED)
        if end is None and _all_ready(jobset):
            self.standing = None
            return None
        pods = self._connection.pods(self._name)
        if end is None:
            self.standing = standing(jobset, pods)
            return None
        self._last = last_words(pods)
        return outcome_of_pods(pods, end[1])


class KubernetesLauncher:
    """A JobSet for each run that trains."""

    outlives_service = True

    def __init__(self, connection: Connection, settings: KubernetesSettings) -> None:
        """
        Raises:
            OSError, ValueError: the pod template cannot be used.
        """
        self._connection, self._settings = connection, settings
        self._template = settings.pod_template()

    def start(self, run: str, attempt: int, ranks: int, devices: DeviceSet) -> JobSetChild:
        wanted = jobset_of(run, attempt, ranks, self._settings, self._template)
        try:
            made = self._connection.create(wanted)
        except Conflict:
            # Ours, if the answer to an earlier try was lost; else another service's: one start of a run is enough.
            found = self.adopt(run)
            if found is None:
                raise LauncherAway(f"the JobSet {jobset_name(run)} is just going away") from None
            return found
        return self._child(made)

    def adopt(self, run: str) -> JobSetChild | None:
        try:
            found = self._connection.get(jobset_name(run))
        except Missing:
            return None
        if found["metadata"].get("deletionTimestamp"):
            raise LauncherAway(f"the JobSet {jobset_name(run)} is still being deleted")
        return self._child(found)

    def clear(self, run: str) -> int:
        try:
            self._connection.get(jobset_name(run))
        except Missing:
            return 0
        _remove(self._connection, jobset_name(run))
        return 1

    def _child(self, jobset: Mapping[str, Any]) -> JobSetChild:
        return JobSetChild(self._connection, jobset, self._settings.poll_seconds)


def _remove(connection: Connection, name: str) -> None:
    """
    Raises:
        LauncherAway: it is not gone yet; ask again.
    """
    try:
        connection.delete(name)
        connection.get(name)
    except Missing:
        return
    except Conflict as error:
        raise LauncherAway(f"the JobSet {name} changed meanwhile") from error
    raise LauncherAway(f"the JobSet {name} waits for its pods to end")


def _all_ready(jobset: Mapping[str, Any]) -> bool:
    groups = jobset.get("status", {}).get("replicatedJobsStatus", [])
    return bool(groups) and all(group.get("ready", 0) + group.get("succeeded", 0) >= 1 for group in groups)
