#!/usr/bin/env python3
"""Make the farm's Secrets, with fresh random values, as a list for `kubectl apply --filename -`.

    python3 k8s/make_secrets.py --owner alice | kubectl apply --filename -

The API key is told once, on standard error; what the cluster keeps is its hash. Nothing is written to this machine's
disk. Needs Python alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

POLICIES = Path(__file__).resolve().parent / "policies"
ROLES = {
    "api": "synfarm-store-api",
    "caption": "synfarm-store-caption",
    "renderer": "synfarm-store-render",
    "trainer": "synfarm-store-trainer",
    "housekeeping": "synfarm-store-housekeeping",
    "admin": "synfarm-store-admin",
}
"""Policy (k8s/policies) and Secret of each role."""
ACCESS, SECRET = "SYNFARM_STORE_ACCESS_KEY", "SYNFARM_STORE_SECRET_KEY"


def secret(name: str, namespace: str, values: Mapping[str, str]) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "synfarm"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "stringData": dict(values)}


def store_credentials() -> dict[str, dict[str, str]]:
    """By role."""
    return {role: {ACCESS: secrets.token_hex(10), SECRET: secrets.token_hex(24)} for role in ROLES}


def seaweedfs(credentials: Mapping[str, Mapping[str, str]]) -> str:
    """Its `-s3.config`: an identity a role, each with its policy (``S3ApiConfiguration``, weed/pb/iam.proto)."""
    identities = [
        {
            "name": role,
            "credentials": [{"accessKey": known[ACCESS], "secretKey": known[SECRET]}],
            "policyNames": [f"synfarm-{role}"],
        }
        for role, known in credentials.items()
    ]
    policies = [
        {"name": f"synfarm-{role}", "content": json.dumps(json.loads((POLICIES / f"{role}.json").read_text()))}
        for role in credentials
    ]
    return json.dumps({"identities": identities, "policies": policies})


def api_key(owner: str) -> tuple[str, str]:
    """A key, and the key file that knows it: as `synfarm.auth.new_key` makes both."""
    key = "sf_" + secrets.token_urlsafe(32)
    record = {"sha256": hashlib.sha256(key.encode()).hexdigest(), "owner": owner, "role": "admin"}
    return key, json.dumps([record])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--owner", required=True, help="whose the first API key is, an administrator's")
    parser.add_argument("--namespace", default="synfarm")
    parser.add_argument(
        "--store", choices=["cluster", "external"], default="cluster", help="external: you make the six store Secrets"
    )
    options = parser.parse_args(arguments)
    password = secrets.token_hex(24)
    key, keys = api_key(options.owner)
    made = [
        secret("synfarm-keys", options.namespace, {"keys.json": keys}),
        secret(
            "synfarm-redis",
            options.namespace,
            {"REDIS_PASSWORD": password, "SYNFARM_REDIS_URL": f"redis://:{password}@redis:6379/0"},
        ),
    ]
    if options.store == "cluster":
        known = store_credentials()
        made += [secret(name, options.namespace, known[role]) for role, name in ROLES.items()]
        made.append(secret("synfarm-seaweedfs", options.namespace, {"s3.json": seaweedfs(known)}))
    json.dump({"apiVersion": "v1", "kind": "List", "items": made}, sys.stdout, indent=1)
    sys.stdout.write("\n")
    sys.stderr.write(f"the API key of {options.owner}, shown once: {key}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
