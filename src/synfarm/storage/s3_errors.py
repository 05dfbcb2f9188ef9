"""What minio-py and urllib3 raise, told in the store's own few errors, so that a caller knows whether waiting helps."""

from __future__ import annotations

from xml.etree.ElementTree import ParseError

import urllib3
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from synfarm.storage.protocol import ObjectMissing, StoreDamaged, StoreError, StoreRefused, StoreUnavailable
from synfarm.storage.trust import untrusted

__all__ = ["CLIENT_ERRORS", "RangeOutside", "Refutation", "translate"]

CLIENT_ERRORS = (MinioException, urllib3.exceptions.HTTPError, OSError, ParseError)
"""All that a request may raise."""

_WAIT_STATUSES = frozenset({408, 425, 429})
_WAIT_CODES = frozenset({"RequestTimeout", "SlowDown", "OperationAborted"})
_FULL_CODES = frozenset({"XMinioStorageFull", "InsufficientStorage"})
_CONDITION_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})


class RangeOutside(StoreDamaged):
    """The object is shorter than the range: asking again changes nothing."""


class Refutation(StoreError):
    """A conditional PUT was answered with 412 or 409: somebody's object is there, perhaps this writer's own."""


def _status(error: Exception) -> int | None:
    if isinstance(error, S3Error):
        return int(error.response.status)
    if isinstance(error, ServerError):
        return error.status_code
    if isinstance(error, InvalidResponseError):
        return error._code
    return None


def translate(error: Exception, key: str) -> StoreError:
    """The store error that says the same.

    A full disk (507) counts as unavailable: somebody makes room, and the work goes on.
    """
    if isinstance(error, ParseError):
        return StoreDamaged(f"{key}: the store's answer is no XML: {error}")
    status = _status(error)
    code = error.code if isinstance(error, S3Error) else None
    text = f"{key}: {type(error).__name__}: {error}"
    if status is None:
        told = untrusted(error)
        return StoreUnavailable(text) if told is None else StoreRefused(f"{key}: {told}")
    if status == 507 or code in _FULL_CODES:
        return StoreUnavailable(f"the object store is full: make room, and the work goes on by itself ({text})")
    if code in _CONDITION_CODES or status == 412:
        return Refutation(text)
    if status == 409 and code not in {"NoSuchBucket", *_WAIT_CODES}:
        return Refutation(text)
    if status >= 500 and status != 501:
        return StoreUnavailable(text)
    if status in _WAIT_STATUSES or code in _WAIT_CODES:
        return StoreUnavailable(text)
    if status == 416:
        return RangeOutside(f"{key}: the range lies outside the object")
    if status == 404 and code != "NoSuchBucket":
        return ObjectMissing(key)
    if status == 400:
        text += "; a server that speaks TLS alone says so too: set SYNFARM_STORE_SECURE=true then"
    return StoreRefused(text)
