"""Keys of jobs: the spec, the flags, the units, what is left at the end."""

from __future__ import annotations

import re

from synfarm.contracts.ids import check_ulid, check_unit
from synfarm.contracts.layout.parts import checked_sha256, digits, plain_name

__all__ = [
    "FAN",
    "active",
    "active_prefix",
    "cancel",
    "captions",
    "captions_prefix",
    "card",
    "commit",
    "commits_fan_prefix",
    "commits_prefix",
    "delivery",
    "ended",
    "ended_prefix",
    "failure",
    "failures_fan_prefix",
    "failures_prefix",
    "job",
    "job_prefix",
    "jobs_prefix",
    "manifest_columns",
    "manifest_part",
    "manifests_prefix",
    "notice",
    "notices_prefix",
    "opening",
    "openings_prefix",
    "parse_active",
    "parse_manifest_part",
    "parse_pin",
    "parse_unit",
    "pause",
    "pin",
    "pins_prefix",
    "progress",
    "retried",
    "retried_prefix",
    "shard",
    "shards_prefix",
    "tombstone",
    "webhook",
]

FAN = 4096
"""Units in one folder, and in one manifest part."""


def active_prefix() -> str:
    return "active/"


def jobs_prefix() -> str:
    return "jobs/"


def active(job_id: str) -> str:
    """Present from submission to end: what a feeder looks for after a flush."""
    return f"active/{check_ulid(job_id)}"


def parse_active(key: str) -> str:
    """The job id of an ``active/`` key.

    Raises:
        ValueError: the key is not one.
    """
    head, _, tail = key.partition("/")
    if head != "active":
        raise ValueError(f"not an active key: {key[:80]!r}")
    return check_ulid(tail)


def job_prefix(job_id: str) -> str:
    return f"jobs/{check_ulid(job_id)}/"


def job(job_id: str) -> str:
    return job_prefix(job_id) + "job.json"


def pause(job_id: str) -> str:
    return job_prefix(job_id) + "pause.json"


def cancel(job_id: str) -> str:
    return job_prefix(job_id) + "cancel.json"


def tombstone(job_id: str) -> str:
    """Written first when a job is deleted; workers look at it right before they commit."""
    return job_prefix(job_id) + "tombstone.json"


def _unit_key(job_id: str, folder: str, unit: int, ending: str) -> str:
    return f"{job_prefix(job_id)}{folder}/{digits(check_unit(unit) // FAN, 5)}/{unit:08d}{ending}"


def captions(job_id: str, unit: int) -> str:
    return _unit_key(job_id, "captions", unit, ".jsonl")


def captions_prefix(job_id: str) -> str:
    return job_prefix(job_id) + "captions/"


def shard(job_id: str, unit: int, sha256: str) -> str:
    """The name holds the first twelve digits of the content's hash: other bytes, other name."""
    return _unit_key(job_id, "shards", unit, f"-{checked_sha256(sha256)[:12]}.tar")


def shards_prefix(job_id: str) -> str:
    return job_prefix(job_id) + "shards/"


def commit(job_id: str, unit: int) -> str:
    """The commit point of a unit: create-only."""
    return _unit_key(job_id, "commits", unit, ".json")


def commits_prefix(job_id: str) -> str:
    return job_prefix(job_id) + "commits/"


def commits_fan_prefix(job_id: str, fan: int) -> str:
    return f"{commits_prefix(job_id)}{digits(fan, 5)}/"


def failure(job_id: str, unit: int) -> str:
    """The dead letter of a unit; a commit always outranks it."""
    return _unit_key(job_id, "failures", unit, ".json")


def failures_prefix(job_id: str) -> str:
    return job_prefix(job_id) + "failures/"


def failures_fan_prefix(job_id: str, fan: int) -> str:
    return f"{job_prefix(job_id)}failures/{digits(fan, 5)}/"


def retried(job_id: str, generation: int, unit: int) -> str:
    """A dead letter of an earlier generation, kept when a retry took it back."""
    return _unit_key(job_id, f"retried/{digits(generation, 4)}", unit, ".json")


def retried_prefix(job_id: str) -> str:
    return job_prefix(job_id) + "retried/"


_UNIT_KEY = re.compile(
    r"jobs/([0-9a-z]{26})/(captions|shards|commits|failures)/([0-9]{5})/([0-9]{8})(?:-[0-9a-f]{12})?\.(?:json|jsonl|tar)"
)


def parse_unit(key: str) -> tuple[str, str, int]:
    """(job id, folder, unit) of a captions, shards, commits or failures key.

    Raises:
        ValueError: the key is none of these.
    """
    match = _UNIT_KEY.fullmatch(key)
    if match is None or int(match.group(4)) // FAN != int(match.group(3)):
        raise ValueError(f"not the key of a unit: {key[:120]!r}")
    return check_ulid(match.group(1)), match.group(2), int(match.group(4))


def progress(job_id: str) -> str:
    """The feeder's watermark: every unit below it is committed or dead."""
    return job_prefix(job_id) + "progress.json"


def manifests_prefix(job_id: str) -> str:
    return job_prefix(job_id) + "manifest/"


def manifest_part(job_id: str, generation: int, part: int) -> str:
    return f"{manifests_prefix(job_id)}{digits(generation, 4)}/part-{digits(part, 6)}.jsonl"


def manifest_columns(job_id: str, generation: int, part: int) -> str:
    """Beside the part: its units group by group (:mod:`synfarm.contracts.columns`); create-only."""
    return manifest_part(job_id, generation, part).removesuffix("jsonl") + "columns.safetensors"


def parse_manifest_part(key: str) -> tuple[str, int, int]:
    """(job, generation, number) of a manifest part's key.

    Raises:
        ValueError: the key is not one.
    """
    match = re.fullmatch(r"jobs/([0-9a-z]{26})/manifest/([0-9]{4})/part-([0-9]{6})\.jsonl", key)
    if match is None:
        raise ValueError(f"not the key of a manifest part: {key[:120]!r}")
    return check_ulid(match.group(1)), int(match.group(2)), int(match.group(3))


def ended_prefix(job_id: str) -> str:
    return job_prefix(job_id) + "ended/"


def ended(job_id: str, generation: int) -> str:
    return f"{ended_prefix(job_id)}{digits(generation, 4)}.json"


def openings_prefix(job_id: str) -> str:
    return job_prefix(job_id) + "generations/"


def opening(job_id: str, generation: int) -> str:
    """Why and how far a generation after the first goes; create-only."""
    return f"{openings_prefix(job_id)}{digits(generation, 4)}.json"


def webhook(job_id: str) -> str:
    """Whom to call; apart from the spec, because it may hold a secret."""
    return job_prefix(job_id) + "webhook.json"


def delivery(job_id: str, name: str) -> str:
    """What became of a call."""
    return f"{job_prefix(job_id)}webhooks/{plain_name(name)}.json"


def notices_prefix() -> str:
    return "webhooks/"


def notice(job_id: str, name: str) -> str:
    """A call that has neither gone through nor been given up: what a feeder looks for after a flush."""
    return f"{notices_prefix()}{check_ulid(job_id)}-{plain_name(name)}.json"


def card(job_id: str) -> str:
    return job_prefix(job_id) + "README.md"


def pins_prefix(job_id: str) -> str:
    return job_prefix(job_id) + "pins/"


def pin(job_id: str, run_id: str) -> str:
    """A run that reads this job."""
    return pins_prefix(job_id) + check_ulid(run_id)


def parse_pin(key: str) -> str:
    """The run id of a pin's key.

    Raises:
        ValueError: the key is not one.
    """
    match = re.fullmatch(r"jobs/[0-9a-z]{26}/pins/([0-9a-z]{26})", key)
    if match is None:
        raise ValueError(f"not the key of a pin: {key[:120]!r}")
    return check_ulid(match.group(1))
