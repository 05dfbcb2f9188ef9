"""Keys of training runs."""

from __future__ import annotations

import re

from synfarm.contracts.ids import check_ulid
from synfarm.contracts.layout.parts import digits, plain_name

__all__ = [
    "attempt",
    "attempts_prefix",
    "checkpoint_commit",
    "checkpoint_file",
    "checkpoint_prefix",
    "checkpoint_share",
    "checkpoints_prefix",
    "eval_record",
    "evals_prefix",
    "export_file",
    "export_prefix",
    "metrics_part",
    "metrics_prefix",
    "mix_change",
    "mix_changes_prefix",
    "parse_attempt",
    "parse_checkpoint",
    "parse_mix_change",
    "parse_run",
    "parse_segment",
    "run",
    "run_ended",
    "run_prefix",
    "run_stop",
    "runs_prefix",
    "segment",
    "segments_prefix",
]


def runs_prefix() -> str:
    return "runs/"


def run_prefix(run_id: str) -> str:
    return f"runs/{check_ulid(run_id)}/"


def run(run_id: str) -> str:
    return run_prefix(run_id) + "run.json"


def parse_run(key: str) -> str:
    """The run id of any key below ``runs/``.

    Raises:
        ValueError: the key is not one.
    """
    parts = key.split("/")
    if len(parts) < 3 or parts[0] != "runs":
        raise ValueError(f"not the key of a run: {key[:80]!r}")
    return check_ulid(parts[1])


def _number_in(folder: str, key: str, what: str) -> int:
    match = re.fullmatch(rf"runs/[0-9a-z]{{26}}/{folder}/([0-9]{{6}})\.json", key)
    if match is None:
        raise ValueError(f"not the key of {what}: {key[:80]!r}")
    return int(match.group(1))


def attempts_prefix(run_id: str) -> str:
    return run_prefix(run_id) + "attempts/"


def attempt(run_id: str, number: int) -> str:
    """Create-only fencing token of one start of the run."""
    return f"{attempts_prefix(run_id)}{digits(number, 6)}.json"


def parse_attempt(key: str) -> int:
    """The attempt number of a fencing token's key.

    Raises:
        ValueError: the key is not one.
    """
    return _number_in("attempts", key, "an attempt")


def metrics_prefix(run_id: str) -> str:
    return run_prefix(run_id) + "metrics/"


def metrics_part(run_id: str, attempt_number: int, part: int) -> str:
    return f"{metrics_prefix(run_id)}{digits(attempt_number, 6)}-{digits(part, 8)}.jsonl"


def evals_prefix(run_id: str) -> str:
    return run_prefix(run_id) + "evals/"


def eval_record(run_id: str, step: int, name: str) -> str:
    return f"{evals_prefix(run_id)}{digits(step, 9)}/{plain_name(name)}"


def segments_prefix(run_id: str) -> str:
    return run_prefix(run_id) + "segments/"


def segment(run_id: str, number: int) -> str:
    """Which data a run trains on from some position on; create-only."""
    return f"{segments_prefix(run_id)}{digits(number, 6)}.json"


def parse_segment(key: str) -> int:
    """The number of a segment.

    Raises:
        ValueError: the key is not one.
    """
    return _number_in("segments", key, "a segment")


def mix_changes_prefix(run_id: str) -> str:
    return run_prefix(run_id) + "weights/"


def mix_change(run_id: str, number: int) -> str:
    """How often captions of each job are drawn from some start of the run on; create-only."""
    return f"{mix_changes_prefix(run_id)}{digits(number, 6)}.json"


def parse_mix_change(key: str) -> int:
    """The number of a change of weights.

    Raises:
        ValueError: the key is not one.
    """
    return _number_in("weights", key, "a change of weights")


def run_stop(run_id: str) -> str:
    return run_prefix(run_id) + "stop.json"


def run_ended(run_id: str) -> str:
    return run_prefix(run_id) + "ended/ended.json"


def checkpoints_prefix(run_id: str) -> str:
    return run_prefix(run_id) + "checkpoints/"


def checkpoint_prefix(run_id: str, step: int, attempt_number: int) -> str:
    return f"{checkpoints_prefix(run_id)}{digits(step, 9)}-{digits(attempt_number, 6)}/"


def checkpoint_file(run_id: str, step: int, attempt_number: int, name: str) -> str:
    """One tensor file of a checkpoint; they come first, ``commit.json`` last."""
    return checkpoint_prefix(run_id, step, attempt_number) + plain_name(name)


def checkpoint_share(run_id: str, step: int, attempt_number: int, rank: int) -> str:
    """What one rank has uploaded, for the first rank, which commits."""
    return checkpoint_file(run_id, step, attempt_number, f"share-{digits(rank, 5)}.json")


def checkpoint_commit(run_id: str, step: int, attempt_number: int) -> str:
    return checkpoint_file(run_id, step, attempt_number, "commit.json")


def parse_checkpoint(key: str) -> tuple[int, int, str]:
    """(step, attempt, file name) of a checkpoint key.

    Raises:
        ValueError: the key is not one.
    """
    match = re.fullmatch(r"runs/[0-9a-z]{26}/checkpoints/([0-9]{9})-([0-9]{6})/([A-Za-z0-9._-]+)", key)
    if match is None:
        raise ValueError(f"not the key of a checkpoint: {key[:120]!r}")
    return int(match.group(1)), int(match.group(2)), match.group(3)


def export_prefix(run_id: str) -> str:
    return run_prefix(run_id) + "export/"


def export_file(run_id: str, name: str) -> str:
    return f"{export_prefix(run_id)}{plain_name(name)}"
