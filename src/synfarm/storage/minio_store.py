"""The real object store: any S3 with conditional PUT, by minio-py, with time-outs and retries that are ours."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import tenacity
import urllib3
from minio import Minio

from synfarm.settings import StoreSettings
from synfarm.storage.protocol import (
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
)
from synfarm.storage.reading_views import reader_of
from synfarm.storage.s3_errors import CLIENT_ERRORS, RangeOutside, Refutation, translate
from synfarm.storage.trust import trusting

__all__ = ["MinioStore", "open_store"]

T = TypeVar("T")

_PAGE = 1000
"""Keys an S3 listing gives at once."""
_FILE_PART = 64 * 2**20
"""Bytes of a file, or of a view, that are copied and sent at once."""
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


def open_store(settings: StoreSettings, *, make: bool = True) -> MinioStore:
    """Connect, and ``make`` the bucket if it is not there.

    Raises:
        StoreUnavailable: no answer after all retries.
        StoreRefused: wrong credentials, a setting that no server could serve, or a bucket that is not to be made.
    """
    store = MinioStore(settings)
    store.ensure_bucket(make=make)
    return store


def _full_jitter(state: tenacity.RetryCallState) -> float:
    """Seconds to wait: uniform below a doubling bound, from the system's entropy, so that clients spread."""
    bound = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (state.attempt_number - 1))
    return random.SystemRandom().uniform(0.0, bound)


def _aware(moment: datetime | None) -> datetime:
    return datetime.now(UTC) if moment is None else moment


class MinioStore(ObjectStore):
    """One a process, shared by its threads; never carried over a fork."""

    def __init__(self, settings: StoreSettings) -> None:
        """Open nothing yet.

        Raises:
            StoreRefused: endpoint or prefix is not well-formed.
        """
        root = settings.prefix.strip("/")
        if any(part in {"", ".", ".."} for part in root.split("/")) and root:
            raise StoreRefused(f"SYNFARM_STORE_PREFIX must be plain segments like 'a/b', got {settings.prefix!r}")
        self._root = f"{root}/" if root else ""
        if settings.ca_file is not None and not settings.secure:
            raise StoreRefused(
                "SYNFARM_STORE_CA_FILE is of use with SYNFARM_STORE_SECURE=true alone; set that, or unset it"
            )
        self._bucket = settings.bucket
        self._attempts = settings.retries + 1
        # `retries=False`: urllib3 would send a body again behind our back, also one that must be sent once.
        # `block=True`: more threads than connections wait for one instead of opening and dropping their own.
        pool = urllib3.PoolManager(
            maxsize=settings.pool_size,
            block=True,
            retries=False,
            ssl_context=trusting(settings.ca_file) if settings.secure else None,
            timeout=urllib3.Timeout(connect=settings.connect_timeout, read=settings.read_timeout),
        )
        try:
            self._client = Minio(
                settings.endpoint,
                access_key=settings.access_key.get_secret_value(),
                secret_key=settings.secret_key.get_secret_value(),
                secure=settings.secure,
                region=settings.region,
                http_client=pool,
            )
        except ValueError as error:
            secret = "@" in settings.endpoint
            given = "a user or key; these have variables of their own" if secret else repr(settings.endpoint)
            raise StoreRefused(f"SYNFARM_STORE_ENDPOINT must be host:port, got {given}") from error

    def _once(self, key: str, request: Callable[[], T]) -> T:
        try:
            return request()
        except CLIENT_ERRORS as error:
            raise translate(error, key) from error

    def _retried(self, key: str, request: Callable[[], T]) -> T:
        """For requests that may be sent twice: try again on time-outs, 5xx, broken connections, short bodies."""
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=_full_jitter,
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, StoreUnavailable | StoreDamaged) and not isinstance(error, RangeOutside)
            ),
            reraise=True,
        )
        try:
            result: T = retrying(self._once, key, request)
            return result
        except Refutation as error:
            raise StoreUnavailable(str(error)) from error

    def ensure_bucket(self, *, make: bool = True) -> None:
        """Make the bucket if it is missing; any number of processes may do so at once.

        Raises:
            StoreRefused: the bucket is another's, its name is impossible, or it is missing and not to be made.
        """

        def look() -> None:
            if self._client.bucket_exists(self._bucket):
                return
            if not make:
                raise StoreRefused(f"there is no bucket {self._bucket!r}")
            try:
                self._client.make_bucket(self._bucket)
            except CLIENT_ERRORS:
                # Another process was faster, or the name is taken by somebody else: the next look tells which.
                if not self._client.bucket_exists(self._bucket):
                    raise

        try:
            self._retried(self._bucket, look)
        except ValueError as error:
            raise StoreRefused(f"SYNFARM_STORE_BUCKET is no bucket name: {error}") from error
        except ObjectMissing as error:
            raise StoreRefused(f"bucket {self._bucket!r} does not exist and cannot be made: {error}") from error

    def put(self, key: str, data: bytes | memoryview, *, content_type: str = "application/octet-stream") -> ObjectInfo:
        # A fresh reader each try: the body is rewound. Bytes are read without a copy, a view in parts.
        if isinstance(data, bytes):
            return self._retried(key, lambda: self._write(key, io.BytesIO(data), len(data), content_type))
        return self._retried(
            key, lambda: self._write(key, reader_of(data), len(data), content_type, part_size=_FILE_PART)
        )

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> ObjectInfo:
        # Opened before the first try: what is wrong with the file is no fault of the store.
        with path.open("rb") as file:
            size = path.stat().st_size

            def write() -> ObjectInfo:
                file.seek(0)
                return self._write(key, file, size, content_type, part_size=_FILE_PART)

            return self._retried(key, write)

    def _write(self, key: str, body: BinaryIO, size: int, content_type: str, *, part_size: int = 0) -> ObjectInfo:
        result = self._client.put_object(
            self._bucket, self._root + key, body, size, content_type, part_size=part_size, num_parallel_uploads=1
        )
        headers = result.http_headers
        date = headers.get("date") if headers else None
        return ObjectInfo(key, size, result.etag or "", parsedate_to_datetime(date) if date else _aware(None))

    def create(self, key: str, data: bytes, *, content_type: str = "application/json") -> bool:
        return self._retried(key, lambda: self._create_once(key, data, content_type))

    def _create_once(self, key: str, data: bytes, content_type: str) -> bool:
        """One conditional PUT, and, whatever its answer leaves open, one look at what the store holds now."""
        try:
            self._once(key, lambda: self._conditional_put(key, data, content_type))
        except (Refutation, StoreUnavailable) as unsure:
            try:
                return self._once(key, lambda: self._read(key, 0, 0)) == data
            except ObjectMissing:
                # Nothing arrived (or it was removed since): another try cannot overwrite anything.
                raise StoreUnavailable(f"{key}: not created: {unsure}") from unsure
        return True

    def _conditional_put(self, key: str, data: bytes, content_type: str) -> None:
        # minio-py's public put_object would turn the condition into `x-amz-meta-if-none-match`, which guards nothing;
        # this inner method alone sends a header as it is. The version is pinned, and the race test guards.
        headers: dict[str, Any] = {"Content-Type": content_type, "If-None-Match": "*"}
        self._client._put_object(self._bucket, self._root + key, data, headers)

    def _read(self, key: str, offset: int, length: int) -> bytes:
        """Body of one GET; ``length`` 0 means to the end."""
        response = self._client.get_object(self._bucket, self._root + key, offset, length)
        whole = False
        try:
            if length and response.status != 206:
                raise StoreDamaged(f"{key}: the store ignored the range and answered {response.status}")
            data = response.read()
            whole = True
        finally:
            if not whole:
                # What is left in the connection must not become the next answer.
                response.close()
            response.release_conn()
        announced = response.headers.get("content-length")
        if announced is not None and int(announced) != len(data):
            raise StoreDamaged(f"{key}: {announced} bytes announced, {len(data)} received")
        total = response.headers.get("content-range", "").rpartition("/")[2]
        if length and total.isdigit() and offset + length > int(total):
            raise RangeOutside(f"{key}: asked for {length} bytes from {offset} of an object of {total}")
        return data

    def get(self, key: str) -> bytes:
        return self._retried(key, lambda: self._read(key, 0, 0))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0:
            raise ValueError(f"offset and length must not be negative, got {offset} and {length}")
        if length == 0:
            if self.head(key) is None:
                raise ObjectMissing(key)
            return b""

        def read() -> bytes:
            data = self._read(key, offset, length)
            if len(data) != length:
                raise StoreDamaged(f"{key}: asked for {length} bytes from {offset}, got {len(data)}")
            return data

        return self._retried(key, read)

    def head(self, key: str) -> ObjectInfo | None:
        def look() -> ObjectInfo:
            found = self._client.stat_object(self._bucket, self._root + key)
            return ObjectInfo(key, found.size or 0, found.etag or "", _aware(found.last_modified))

        try:
            return self._retried(key, look)
        except ObjectMissing:
            return None

    def list(self, prefix: str, *, start_after: str | None = None, limit: int | None = None) -> Iterator[ObjectInfo]:
        left = limit
        for item in self._pages(prefix, start_after=start_after, limit=limit):
            if left == 0:
                return
            key = str(item.object_name)[len(self._root) :]
            yield ObjectInfo(key, item.size or 0, (item.etag or "").strip('"'), _aware(item.last_modified))
            left = None if left is None else left - 1

    def list_folders(self, prefix: str) -> Iterator[str]:
        if not prefix.endswith("/"):
            raise ValueError(f"the prefix of a folder ends with '/', got {prefix!r}")
        below = len(self._root) + len(prefix)

        def names() -> list[str]:
            # Pages by the server's own token: it names files before folders, so no last name tells where a page ended.
            found = self._found(prefix, delimiter="/", start_after=None, page=_PAGE)
            return [str(item.object_name)[below:] for item in found]

        # A page that starts after 'x/' may name 'x/' once more.
        for name in dict.fromkeys(self._retried(prefix, names)):
            if name.endswith("/"):
                yield name[:-1]

    def _found(self, prefix: str, *, delimiter: str | None, start_after: str | None, page: int) -> Iterator[Any]:
        # The public `list_objects` always asks for pages of 1000, of which a caller with a limit may want three.
        return self._client._list_objects(
            self._bucket,
            delimiter=delimiter,
            encoding_type="url",
            max_keys=page,
            prefix=self._root + prefix,
            start_after=start_after,
        )

    def _pages(self, prefix: str, *, start_after: str | None, limit: int | None) -> Iterator[Any]:
        """Items of a listing; each page is fetched (and retried) for itself, from the last key seen."""
        after = None if start_after is None else self._root + start_after
        size = _PAGE if limit is None else min(_PAGE, limit)

        def page() -> list[Any]:
            return [*islice(self._found(prefix, delimiter=None, start_after=after, page=size), size)]

        while size:
            items = self._retried(prefix, page)
            yield from items
            if len(items) < size:
                return
            after = items[-1].object_name

    def delete(self, key: str) -> None:
        try:
            self._retried(key, lambda: self._client.remove_object(self._bucket, self._root + key))
        except ObjectMissing:
            return

    def now(self) -> datetime:
        def ask() -> datetime:
            # The public `bucket_exists` sends the same request and keeps its answer's headers to itself.
            told = self._client._execute("HEAD", self._bucket).headers.get("date", "")
            try:
                return parsedate_to_datetime(told)
            except ValueError as error:
                raise StoreRefused(f"the store does not tell its time: 'Date: {told}' in its answer") from error

        return self._retried(self._bucket, ask)
