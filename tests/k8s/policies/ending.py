"""What is to end: Jobs, and what makes them by the clock.

Source of the rules: ``cron-jobs.md`` and ``job.md`` in ``content/en/docs/concepts/workloads/controllers`` of
kubernetes/website.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.k8s.manifests import Manifests, Object, Workload

_DAY = 86_400
_LONGEST_NAME = 52
"""Of a CronJob: eleven characters come after it in the names of its Jobs, which have 63."""
_LOOKS_EVERY = 10
"""Seconds between two looks of the controller: a deadline below that is missed each time."""


def jobs_end(manifests: Manifests) -> Iterator[str]:
    """A Job says how often it is tried, is cleared away, and one of the clock neither hangs nor piles up."""
    for workload in manifests.workloads:
        faults: Iterator[str] = iter(())
        if workload.kind == "Job":
            faults = _once(workload.thing["spec"])
        elif workload.kind == "CronJob":
            faults = _by_the_clock(workload)
        for fault in faults:
            yield f"{workload.name}: {fault}"


def _once(job: Object) -> Iterator[str]:
    if "backoffLimit" not in job:
        yield "does not say how often it is tried"
    if "ttlSecondsAfterFinished" not in job:
        yield "stays when it is done, so that the next apply meets a template that cannot be changed"


def _by_the_clock(workload: Workload) -> Iterator[str]:
    spec, job = workload.thing["spec"], workload.thing["spec"]["jobTemplate"]["spec"]
    if not re.fullmatch(r"[\d*/,-]+( [\dA-Za-z*/,-]+){4}", spec["schedule"]):
        yield f"its schedule {spec['schedule']!r} has not five fields"
    if not spec.get("timeZone"):
        yield "its schedule is in the time zone of whichever machine the control plane has"
    if spec.get("concurrencyPolicy", "Allow") == "Allow":
        yield "a second one begins while the first still runs"
    if spec.get("startingDeadlineSeconds", 0) < _LOOKS_EVERY:
        yield "does not say until when a missed time is made up for"
    for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        if name not in spec:
            yield f"says no {name}"
    if "backoffLimit" not in job:
        yield "does not say how often it is tried"
    if not 0 < job.get("activeDeadlineSeconds", 0) < _DAY:
        yield "has no activeDeadlineSeconds below a day: one that hangs keeps the next one from beginning"
    if len(workload.thing["metadata"]["name"]) > _LONGEST_NAME:
        yield f"its name is longer than {_LONGEST_NAME} characters"
