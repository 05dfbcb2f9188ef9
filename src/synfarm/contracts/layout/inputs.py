"""Keys of what jobs are made from: recipes, own concept sets, files of captions, the requests (idempotency)."""

from __future__ import annotations

import hashlib
import json
import re

from synfarm.contracts.layout.parts import checked_sha256, digits, plain_name

__all__ = [
    "concept_set",
    "concept_sets_prefix",
    "idempotency",
    "parse_concept_set",
    "parse_upload_part",
    "recipe",
    "upload_commit",
    "upload_part",
    "upload_parts_prefix",
    "uploads_prefix",
    "weights_file",
    "weights_prefix",
]


def idempotency(owner: str, route: str, key: str) -> str:
    """Named by the hash of (owner, route, key): whatever a client sends cannot steer the path."""
    digest = hashlib.sha256(json.dumps([owner, route, key]).encode()).hexdigest()
    return f"idempotency/{digest}.json"


def recipe(sha256: str) -> str:
    """A caption recipe under its own hash: whoever writes it writes the same bytes."""
    return f"recipes/{checked_sha256(sha256)}.json"


def uploads_prefix(owner: str) -> str:
    """Folder of what an owner has uploaded, named by a hash: an owner's name may hold spaces."""
    return f"uploads/{_owner_hash(owner)}/"


def upload_parts_prefix(owner: str, name: str) -> str:
    return f"{uploads_prefix(owner)}{plain_name(name)}/parts/"


def upload_part(owner: str, name: str, part: int, lines: int, sha256: str) -> str:
    """One part of a file of captions; the name tells its lines and content, so a corrected part is another object."""
    return f"{upload_parts_prefix(owner, name)}{digits(part, 6)}-{digits(lines, 5)}-{checked_sha256(sha256)}.jsonl"


def parse_upload_part(key: str) -> tuple[int, int, str]:
    """(part, lines, sha256) of an uploaded part's key.

    Raises:
        ValueError: the key is not one.
    """
    pattern = r"uploads/[0-9a-f]{32}/[A-Za-z0-9._-]+/parts/([0-9]{6})-([0-9]{5})-([0-9a-f]{64})\.jsonl"
    match = re.fullmatch(pattern, key)
    if match is None:
        raise ValueError(f"not the key of an uploaded part: {key[:160]!r}")
    return int(match.group(1)), int(match.group(2)), match.group(3)


def upload_commit(owner: str, name: str) -> str:
    """The file exists because this object does: create-only."""
    return f"{uploads_prefix(owner)}{plain_name(name)}/commit.json"


def concept_sets_prefix(owner: str) -> str:
    """Folder of an owner's own concept sets."""
    return f"concept-sets/{_owner_hash(owner)}/"


def concept_set(owner: str, name: str) -> str:
    """An own concept set: written over when it is replaced, because jobs freeze what they draw from."""
    return f"{concept_sets_prefix(owner)}{plain_name(name)}.jsonl"


def parse_concept_set(key: str) -> str:
    """Name of the set of a key.

    Raises:
        ValueError: the key is none of a concept set.
    """
    match = re.fullmatch(r"concept-sets/[0-9a-f]{32}/([A-Za-z0-9._-]+)\.jsonl", key)
    if match is None:
        raise ValueError(f"not the key of a concept set: {key[:160]!r}")
    return plain_name(match.group(1))


def _owner_hash(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def weights_prefix() -> str:
    """Networks that were put into the store by hand, for runs to begin with."""
    return "weights/"


def weights_file(name: str) -> str:
    return f"{weights_prefix()}{plain_name(name)}"
