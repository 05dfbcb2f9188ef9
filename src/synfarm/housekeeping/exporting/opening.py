"""From what a user wrote behind `--to` to a destination."""

from __future__ import annotations

import re
from pathlib import Path

from synfarm.housekeeping.exporting.destination import (
    BucketDestination,
    Destination,
    DestinationFailed,
    ExportRefused,
    FolderDestination,
)
from synfarm.settings import ExportSettings, StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore, StoreRefused, StoreUnavailable

__all__ = ["bucket_of", "open_bucket", "open_destination"]

_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")
_LEDGER = frozenset(
    {"active", "concept-sets", "idempotency", "jobs", "probe", "recipes", "runs", "uploads", "webhooks", "weights"}
)
"""First parts of the farm's own keys."""


def open_destination(to: str, farm: StoreSettings, given: ExportSettings) -> Destination:
    """The folder or the bucket; a bucket is made if it is not there.

    Args:
        farm: the store that is read, whose server and credentials are taken where ``given`` has none.

    Raises:
        ExportRefused: it is neither a folder nor a usable s3 url, or lies among the farm's own objects.
        DestinationFailed: the bucket's server does not answer.
    """
    if "://" not in to:
        return FolderDestination(Path(to).expanduser())
    return BucketDestination(open_bucket(to, bucket_of(to, farm, given)), to)


def bucket_of(to: str, farm: StoreSettings, given: ExportSettings, *, field: str = "--to") -> StoreSettings:
    """What an s3 url names.

    Args:
        field: where the user wrote it.

    Raises:
        ExportRefused: as :func:`open_destination`.
    """
    match = _URL.fullmatch(to)
    if match is None:
        raise ExportRefused(f"{field}: {to[:200]!r} is no s3 url; write s3://bucket/prefix, or a folder.")
    bucket, prefix = match.group(1), (match.group(2) or "").strip("/")
    told = {**given.model_dump(exclude_none=True), "bucket": bucket, "prefix": prefix}
    if given.secure is False or given.endpoint not in (None, farm.endpoint):
        told["ca_file"] = given.ca_file  # the farm's authority signed for the farm's server alone
    settings = farm.model_copy(update=told)
    root = farm.prefix.strip("/")
    below = f"{root}/" if root else ""
    inside = (settings.endpoint, bucket) == (farm.endpoint, farm.bucket) and prefix.startswith(below)
    if inside and prefix.removeprefix(below).split("/")[0] in _LEDGER:
        raise ExportRefused(f"{field}: {to} lies among the farm's own objects; name another bucket or prefix.")
    return settings


def open_bucket(to: str, settings: StoreSettings, *, field: str = "--to", make: bool = True) -> ObjectStore:
    """The bucket, made if it is not there; not so without ``make``.

    Raises:
        ExportRefused, DestinationFailed: as :func:`open_destination`.
    """
    try:
        return open_store(settings, make=make)
    except StoreRefused as error:
        cure = f"correct {field}, or SYNFARM_EXPORT_ENDPOINT, _ACCESS_KEY, _SECRET_KEY, _SECURE, _CA_FILE and _REGION"
        raise ExportRefused(f"{field}: {to} cannot be used: {_in_its_names(error)}. Next: {cure}.") from error
    except StoreUnavailable as error:
        raise DestinationFailed(to, error) from error


def _in_its_names(error: StoreRefused) -> str:
    """A store tells what is wrong by the settings of the farm's own, and this one is named by others and by a url."""
    told = str(error)
    for farms, ours in (("STORE_BUCKET", "the bucket"), ("STORE_PREFIX", "the prefix"), ("STORE_", "SYNFARM_EXPORT_")):
        told = told.replace(f"SYNFARM_{farms}", ours)
    return told
