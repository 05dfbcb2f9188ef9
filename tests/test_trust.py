"""A client of plain HTTP reads no authorities, and trusts nobody should it meet TLS after all."""

from __future__ import annotations

import ssl

import httpx
import pytest

from synfarm.local.probes import HttpProbe
from synfarm.sdk import AsyncClient, Client, ClientConfig
from synfarm.trust import trust_for


@pytest.mark.parametrize("url", ["https://farm.example", "HTTPS://farm.example:8000/api"])
def test_https_is_trusted_as_httpx_does_by_itself(url: str) -> None:
    trust = trust_for(url)
    assert trust.get_ca_certs()
    assert trust.verify_mode is ssl.CERT_REQUIRED
    assert trust.check_hostname


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://https:1", ""])
def test_all_else_trusts_nobody(url: str) -> None:
    trust = trust_for(url)
    assert not trust.get_ca_certs()
    assert trust.verify_mode is ssl.CERT_REQUIRED
    assert trust.check_hostname


async def test_clients_of_plain_http_read_no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> ssl.SSLContext:
        raise AssertionError("authorities are read")

    monkeypatch.setattr(ssl, "create_default_context", read)
    plain = ClientConfig("http://127.0.0.1:9", "http://127.0.0.1:9", tries=1)
    with Client(plain):
        pass
    async with AsyncClient(plain):
        pass
    assert "ConnectError" in (await HttpProbe("http://127.0.0.1:9/healthz")() or "")
    with pytest.raises(AssertionError, match="authorities are read"), httpx.Client():
        pass
    with pytest.raises(AssertionError, match="authorities are read"):
        Client(ClientConfig("https://farm.example", "https://farm.example"))
