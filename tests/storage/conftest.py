"""The real store behind a proxy on loopback that loses, delays and damages what a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.fault_proxy import FaultProxy

from synfarm.local.servers import LocalS3
from synfarm.settings import StoreSettings
from synfarm.storage import minio_store
from synfarm.storage.minio_store import MinioStore, open_store


@pytest.fixture
def proxy(s3_server: LocalS3) -> Iterator[FaultProxy]:
    """In front of the shared S3 server; hands everything on until told otherwise."""
    running = FaultProxy(("127.0.0.1", s3_server.ports.s3))
    yield running
    running.close()


@pytest.fixture
def proxied_settings(store_settings: StoreSettings, proxy: FaultProxy) -> StoreSettings:
    """The store of ``store`` by way of the proxy."""
    return store_settings.model_copy(update={"endpoint": proxy.endpoint, "retries": 3})


@pytest.fixture
def proxied(proxied_settings: StoreSettings, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> MinioStore:
    monkeypatch.setattr(minio_store, "_FIRST_WAIT", 0.01)
    store = open_store(proxied_settings)
    proxy.seen.clear()
    return store
