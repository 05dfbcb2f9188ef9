"""The policies of ``k8s/policies``: read, asked, and given to a SeaweedFS as they are."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synfarm.local.process import ProcessSpec
from synfarm.settings import StoreSettings

__all__ = ["ROLES", "Credentials", "Policy", "Statement", "policies", "with_identities"]

FOLDER = Path(__file__).resolve().parents[2] / "k8s" / "policies"
ROLES = ("admin", "api", "caption", "housekeeping", "renderer", "trainer")
BUCKET = "arn:aws:s3:::synfarm"


def _matches(pattern: str, value: str) -> bool:
    """As in AWS' language: ``*`` is anything, also a slash; ``?`` is one character."""
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), value, re.DOTALL) is not None


@dataclass(frozen=True)
class Statement:
    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]

    def grants(self) -> Iterator[tuple[str, str]]:
        """Each (action, resource) for itself."""
        for action in self.actions:
            for resource in self.resources:
                yield action, resource


@dataclass(frozen=True)
class Policy:
    role: str
    document: dict[str, Any] = field(repr=False)

    @property
    def statements(self) -> list[Statement]:
        return [
            Statement(one["Sid"], tuple(one["Action"]), tuple(one["Resource"])) for one in self.document["Statement"]
        ]

    def granting(self, action: str, key: str | None) -> list[tuple[str, str]]:
        """The grants by which the role may do this with an object, or with the bucket (None)."""
        resource = BUCKET if key is None else f"{BUCKET}/{key}"
        return [
            (verb, pattern)
            for statement in self.statements
            for verb, pattern in statement.grants()
            if verb == action and _matches(pattern, resource)
        ]

    def allows(self, action: str, key: str | None) -> bool:
        return bool(self.granting(action, key))


def policies() -> dict[str, Policy]:
    return {role: Policy(role, json.loads((FOLDER / f"{role}.json").read_text())) for role in ROLES}


@dataclass(frozen=True)
class Credentials:
    access: str
    secret: str = field(repr=False)

    @classmethod
    def fresh(cls) -> Credentials:
        return cls(secrets.token_hex(10), secrets.token_hex(24))

    def into(self, settings: StoreSettings) -> StoreSettings:
        return StoreSettings.model_validate(
            {**settings.model_dump(), "access_key": self.access, "secret_key": self.secret}
        )


def with_identities(spec: ProcessSpec, file: Path, credentials: Mapping[str, Credentials]) -> ProcessSpec:
    """The same SeaweedFS, with one identity a role, each with its role's policy and nothing else.

    The form of the file: ``S3ApiConfiguration`` in seaweedfs/seaweedfs, weed/pb/iam.proto.
    """
    file.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": role,
                        "credentials": [{"accessKey": known.access, "secretKey": known.secret}],
                        "policyNames": [f"synfarm-{role}"],
                    }
                    for role, known in credentials.items()
                ],
                "policies": [
                    {"name": f"synfarm-{role}", "content": json.dumps(policy.document)}
                    for role, policy in policies().items()
                ],
            }
        )
    )
    env = {name: value for name, value in spec.env.items() if not name.startswith("AWS_")}
    return dataclasses.replace(spec, command=(*spec.command, f"-s3.config={file}"), env=env)
