"""What the status of a JobSet and of its pods says of a start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from synfarm_trainer.launch.codes import FINAL, ExitCode
from synfarm_trainer.launch.kubernetes.jobset import CONTAINER
from synfarm_trainer.launch.outcome import ExitRecord, Outcome, outcome_of

__all__ = ["ended", "last_words", "outcome_of_pods", "standing"]

_WEIGHT = [ExitCode.FENCED, ExitCode.CRASH, ExitCode.LOST_RANK, ExitCode.TERMINATED, ExitCode.STOPPED]
"""Of several pods' codes the earlier one tells the cause, the later ones what it did to others; final ones first."""


def ended(jobset: Mapping[str, Any]) -> tuple[str, str] | None:
    """(``Completed`` or ``Failed``, message of the condition), None while it goes on."""
    for condition in jobset.get("status", {}).get("conditions", []):
        if condition.get("type") in {"Completed", "Failed"} and condition.get("status") == "True":
            return condition["type"], condition.get("message", "")
    return None


def outcome_of_pods(pods: Sequence[Mapping[str, Any]], message: str) -> Outcome:
    """Of a JobSet that failed: the words of the pod that tells the cause, else the condition's ``message``."""
    told = [_code(state) for state in _terminated(pods)]
    failed = [(code, detail) for code, detail in told if code is not ExitCode.COMPLETED]
    if not failed:
        return outcome_of(ExitCode.CRASH, f"the JobSet failed: {message}" if message else "the JobSet failed")
    ranked = [*FINAL, *_WEIGHT]
    return outcome_of(*min(failed, key=lambda pair: ranked.index(pair[0])))


def last_words(pods: Sequence[Mapping[str, Any]]) -> str:
    """The end of the log of a pod that left no reason."""
    texts = [state.get("message", "") for state in _terminated(pods) if state.get("exitCode") != 0]
    return next((text for text in texts if text and _record(text) is None), "")[-1500:]


def standing(jobset: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a start does not run yet, None if nothing tells so."""
    for condition in jobset.get("status", {}).get("conditions", []):
        if condition.get("type") == "Suspended" and condition.get("status") == "True":
            return f"the cluster has suspended it: {condition.get('message', '')}"
    if jobset.get("spec", {}).get("suspend"):
        return "waits for its turn in the cluster's queue"
    for pod in pods:
        status = pod.get("status", {})
        for condition in status.get("conditions", []):
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return f"no machine takes a pod: {condition.get('message', '')}"
        for container in status.get("containerStatuses", []):
            waiting = container.get("state", {}).get("waiting", {})
            if waiting.get("reason") not in {None, "ContainerCreating", "PodInitializing"}:
                return f"a pod waits: {waiting['reason']} {waiting.get('message', '')}".strip()
    return None


def _terminated(pods: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", []):
            state = container.get("state", {}).get("terminated")
            if container.get("name") == CONTAINER and state:
                yield state


def _record(text: str) -> ExitRecord | None:
    try:
        return ExitRecord.model_validate_json(text)
    except ValidationError:
        return None


def _code(state: Mapping[str, Any]) -> tuple[ExitCode, str | None]:
    number, why = int(state.get("exitCode", 1)), state.get("reason", "")
    if number == 137:
        return ExitCode.LOST_RANK, f"a pod was killed ({why or 'SIGKILL'})"
    if number not in set(ExitCode):
        return ExitCode.CRASH, f"a pod ended with exit code {number} ({why})"
    code = ExitCode(number)
    record = _record(state.get("message", ""))
    return code, record.detail if record is not None else None
