"""The condition of a create travels as an HTTP header: as metadata of the object it would guard nothing."""

from __future__ import annotations

from typing import Any

import pytest
from minio import Minio

from synfarm.local.servers import LocalS3
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import MinioStore, open_store
from synfarm.storage.probe import UnprovenStore, require_proven

pytestmark = pytest.mark.integration


def test_a_signed_header_and_no_metadata(
    proxied: MinioStore, proxy: Any, proxied_settings: StoreSettings, s3_server: LocalS3
) -> None:
    assert proxied.create("c", b"mine")
    (put,) = [seen for seen in proxy.seen if seen.method == "PUT"]
    assert put.headers["if-none-match"] == "*"
    assert "if-none-match" in put.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert not [name for name in put.headers if name.startswith("x-amz-meta-")]
    client = Minio(s3_server.endpoint, access_key=s3_server.access_key, secret_key=s3_server.secret_key, secure=False)
    stored = client.stat_object(proxied_settings.bucket, f"{proxied_settings.prefix}/c")
    assert stored.metadata is not None
    assert not [name for name in stored.metadata if "none-match" in name.lower()]


class ConditionAsMetadata(MinioStore):
    """What the client library's public call makes of the same header."""

    def _conditional_put(self, key: str, data: bytes, content_type: str) -> None:
        import io

        self._client.put_object(
            self._bucket, self._root + key, io.BytesIO(data), len(data), content_type, metadata={"If-None-Match": "*"}
        )


def test_the_probe_notices_a_condition_that_guards_nothing(store_settings: StoreSettings) -> None:
    open_store(store_settings)
    store = ConditionAsMetadata(store_settings)
    with pytest.raises(UnprovenStore, match="create-only") as told:
        require_proven(store)
    assert "SYNFARM_STORE_ALLOW_UNPROVEN" in str(told.value)
    assert list(require_proven(store, allow_unproven=True)) == ["create-only (conditional PUT, If-None-Match)"]
