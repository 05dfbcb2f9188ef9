"""``SYNFARM_STORE_SECURE`` with an authority of one's own, on an S3 server that speaks TLS itself."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from tests.security.tls_front import Authority

from synfarm.cli.trainer_child import store_environment
from synfarm.housekeeping.exporting.destination import ExportRefused
from synfarm.housekeeping.exporting.opening import open_destination
from synfarm.local.ports import HeldPorts
from synfarm.local.probes import Probe
from synfarm.local.servers import LocalServer, S3Ports, s3
from synfarm.settings import ExportSettings, StoreSettings
from synfarm.storage.minio_store import MinioStore, open_store
from synfarm.storage.probe import probe
from synfarm.storage.protocol import StoreRefused

pytestmark = pytest.mark.integration


@dataclasses.dataclass(frozen=True)
class _Ready:
    """As the shipped probe, by HTTPS."""

    s3: str
    topology: str
    authority: Path

    async def __call__(self) -> str | None:
        trusted = ssl.create_default_context(cafile=str(self.authority))
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False, verify=trusted) as client:
                if (await client.get(self.s3)).status_code != 200:
                    return "S3 is not ready"
                return None if (await client.get(self.topology)).json()["Topology"]["Max"] else "no volumes yet"
        except (httpx.HTTPError, OSError, ValueError, LookupError) as error:
            return str(error)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.new(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[StoreSettings]:
    """How a store opens an S3 server that speaks nothing but TLS."""
    folder, held = tmp_path_factory.mktemp("tls-s3"), HeldPorts(8)
    ports = S3Ports(*held.numbers)
    cert, key = authority.sign("127.0.0.1")
    spec = s3(folder, ports, "access", "secret-of-the-test")
    ready: Probe = _Ready(
        f"https://127.0.0.1:{ports.s3}/healthz", f"http://127.0.0.1:{ports.master}/dir/status", authority.file
    )
    spec = dataclasses.replace(
        spec, command=(*spec.command, f"-s3.cert.file={cert}", f"-s3.key.file={key}"), probe=ready
    )
    server = LocalServer(spec, folder / "s3.log")
    server.bring_up()
    yield StoreSettings(
        endpoint=f"127.0.0.1:{ports.s3}",
        access_key=SecretStr("access"),
        secret_key=SecretStr("secret-of-the-test"),
        secure=True,
        ca_file=authority.file,
        retries=0,
    )
    server.kill()


def test_the_right_authority_works(secured: StoreSettings) -> None:
    assert probe(open_store(secured)) == {}


@pytest.mark.parametrize("whose", ["stranger", "system"])
def test_a_certificate_that_is_not_trusted_is_refused(secured: StoreSettings, tmp_path: Path, whose: str) -> None:
    wrong = Authority.new(tmp_path).file if whose == "stranger" else None
    with pytest.raises(StoreRefused, match=r"not trusted.*SYNFARM_STORE_CA_FILE") as told:
        open_store(secured.model_copy(update={"ca_file": wrong, "retries": 5}))
    assert "secret-of-the-test" not in str(told.value)


def test_a_name_that_the_certificate_is_not_for_is_refused(secured: StoreSettings) -> None:
    port = secured.endpoint.rpartition(":")[2]
    with pytest.raises(StoreRefused, match="SYNFARM_STORE_ENDPOINT to a name that it is for"):
        open_store(secured.model_copy(update={"endpoint": f"localhost:{port}"}))


def test_tls_with_a_server_that_speaks_none(store_settings: StoreSettings, authority: Authority) -> None:
    with pytest.raises(StoreRefused, match="SYNFARM_STORE_SECURE=false"):
        open_store(store_settings.model_copy(update={"secure": True, "ca_file": authority.file}))


def test_no_tls_with_a_server_that_speaks_nothing_else(secured: StoreSettings) -> None:
    with pytest.raises(StoreRefused, match="SYNFARM_STORE_SECURE=true"):
        open_store(secured.model_copy(update={"secure": False, "ca_file": None}))


def test_settings_that_cannot_be_meant(tmp_path: Path, authority: Authority) -> None:
    with pytest.raises(StoreRefused, match="SYNFARM_STORE_CA_FILE is of use with SYNFARM_STORE_SECURE=true"):
        MinioStore(StoreSettings(ca_file=authority.file))
    (tmp_path / "empty.pem").touch()
    for file in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        with pytest.raises(StoreRefused, match=f"SYNFARM_STORE_CA_FILE: {file}"):
            MinioStore(StoreSettings(secure=True, ca_file=file))


def test_a_child_of_the_command_is_told_whom_to_trust(secured: StoreSettings, authority: Authority) -> None:
    told = store_environment(secured)
    assert told["SYNFARM_STORE_CA_FILE"] == str(authority.file)
    assert told["SYNFARM_STORE_SECURE"] == "True"
    assert "SYNFARM_STORE_CA_FILE" not in store_environment(StoreSettings())


def test_a_farm_with_tls_exports_to_a_server_without(store_settings: StoreSettings, authority: Authority) -> None:
    farm = store_settings.model_copy(update={"secure": True, "ca_file": authority.file})
    plain = ExportSettings(secure=False)
    assert open_destination(f"s3://{farm.bucket}/exported", farm, plain) is not None
    with pytest.raises(ExportRefused, match="SYNFARM_EXPORT_SECURE=false"):
        open_destination(f"s3://{farm.bucket}/exported", farm, ExportSettings())
