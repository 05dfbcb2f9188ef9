"""The real client on a bad line to a real server: what is lost is sent again, and what is doubtful is looked up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import MinioStore, open_store
from synfarm.storage.protocol import ObjectStore, StoreDamaged, StoreRefused, StoreUnavailable

pytestmark = pytest.mark.integration

KEY = "units/7.json"


def _all(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list("")}


def test_answer_of_create_lost_after_it_was_done(proxied: MinioStore, proxy: Any, store: ObjectStore) -> None:
    proxy.once("PUT", proxy.answer_lost)
    assert proxied.create(KEY, b"mine")
    assert (proxy.count("PUT"), proxy.count("GET")) == (1, 1), "read back, not sent again"
    assert _all(store) == {KEY: b"mine"}


@pytest.fixture
def impatient(proxied_settings: StoreSettings, proxied: MinioStore) -> MinioStore:
    return MinioStore(proxied_settings.model_copy(update={"read_timeout": 0.4}))


def test_answer_of_create_never_comes(impatient: MinioStore, proxy: Any, store: ObjectStore) -> None:
    proxy.once("PUT", lambda exchange: (exchange.forward(), proxy.never(exchange)))
    assert impatient.create(KEY, b"mine")
    assert _all(store) == {KEY: b"mine"}


def test_answer_of_create_lost_after_another_won(proxied: MinioStore, proxy: Any, store: ObjectStore) -> None:
    proxy.once("PUT", proxy.first(lambda: store.create(KEY, b"theirs"), proxy.answer_lost))
    assert not proxied.create(KEY, b"mine")
    assert _all(store) == {KEY: b"theirs"}


def test_request_of_create_lost_and_another_wins_before_the_second_try(
    proxied: MinioStore, proxy: Any, store: ObjectStore
) -> None:
    proxy.once("PUT", proxy.request_lost, proxy.first(lambda: store.create(KEY, b"theirs"), proxy.untouched))
    assert not proxied.create(KEY, b"mine")
    assert _all(store) == {KEY: b"theirs"}


def test_look_up_after_a_lost_answer_fails_too(proxied: MinioStore, proxy: Any, store: ObjectStore) -> None:
    proxy.once("PUT", proxy.answer_lost)
    proxy.once("GET", proxy.status(503, "SlowDown"), proxy.cut(2))
    assert proxied.create(KEY, b"mine"), "the second PUT is refused: by this writer's own object"
    assert _all(store) == {KEY: b"mine"}


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_conflict_answered_to_a_create(proxied: MinioStore, proxy: Any, store: ObjectStore, code: str) -> None:
    proxy.once("PUT", proxy.status(409, code))
    assert proxied.create(KEY, b"mine"), "nobody was there after all"
    proxy.once("PUT", proxy.status(409, code))
    assert not proxied.create(KEY, b"theirs")
    assert _all(store) == {KEY: b"mine"}


def test_conflict_without_end(proxied: MinioStore, proxy: Any, store: ObjectStore) -> None:
    proxy.always["PUT"] = proxy.status(409, "ConditionalRequestConflict")
    with pytest.raises(StoreUnavailable, match=KEY):
        proxied.create(KEY, b"mine")
    assert proxy.count("PUT") == 4
    assert _all(store) == {}


def _operations(store: ObjectStore) -> dict[str, tuple[str, Callable[[], object], object]]:
    """Name -> (method of its first request, call, what it must give)."""
    return {
        "put": ("PUT", lambda: store.put("o", b"12345678").size, 8),
        "create": ("PUT", lambda: store.create("new", b"x"), True),
        "get": ("GET", lambda: store.get("o"), b"12345678"),
        "get_range": ("GET", lambda: store.get_range("o", 2, 4), b"3456"),
        "head": ("HEAD", lambda: store.head("o") is not None, True),
        "list": ("GET", lambda: [info.key for info in store.list("")], ["f/x", "o"]),
        "list_folders": ("GET", lambda: list(store.list_folders("f/")) or ["none"], ["none"]),
        "delete": ("DELETE", lambda: store.delete("gone"), None),
    }


NAMES = sorted(_operations(None))  # type: ignore[arg-type]
READS = ["get", "get_range", "list", "list_folders"]


@pytest.mark.parametrize("name", NAMES)
def test_passing_trouble_is_sent_again(proxied: MinioStore, proxy: Any, name: str) -> None:
    proxied.put("o", b"12345678")
    proxied.put("f/x", b"")
    method, call, right = _operations(proxied)[name]
    proxy.once(method, proxy.status(503, "SlowDown"), proxy.status(500))
    assert call() == right
    if name == "create":
        # So that the second round has something to create.
        proxied.delete("new")
    proxy.once(method, proxy.request_lost, proxy.answer_lost)
    assert call() == right
    assert not proxy.faults, "all of the trouble was met"


@pytest.mark.parametrize("name", NAMES)
def test_lasting_trouble_is_an_environment_fault(proxied: MinioStore, proxy: Any, name: str) -> None:
    method, call, _ = _operations(proxied)[name]
    for trouble in (proxy.status(507), proxy.status(507, "XMinioStorageFull"), proxy.status(503), proxy.request_lost):
        proxy.seen.clear()
        proxy.always[method] = trouble
        with pytest.raises(StoreUnavailable):
            call()
        assert proxy.count(method) == 4, "retries=3"


@pytest.mark.parametrize("name", ["get", "put", "create", "list"])
def test_an_answer_that_never_comes_is_given_up(impatient: MinioStore, proxy: Any, name: str) -> None:
    method, call, _ = _operations(impatient)[name]
    proxy.always = {method: proxy.never, "GET": proxy.never}
    with pytest.raises(StoreUnavailable):
        call()
    assert len(proxy.seen) == (8 if name == "create" else 4), "retries=3; a create looks up after each try"
    assert proxy.given_up >= len(proxy.seen) - 1, "by the client, every time (the last one may not be noted yet)"


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", READS)
def test_body_cut_on_the_way(proxied: MinioStore, proxy: Any, name: str, reset: bool) -> None:
    proxied.put("o", b"12345678")
    proxied.put("f/x", b"")
    _, call, right = _operations(proxied)[name]
    proxy.once("GET", proxy.cut(3, reset=reset), proxy.cut(0, reset=reset))
    assert call() == right
    proxy.always["GET"] = proxy.cut(3, reset=reset)
    with pytest.raises((StoreUnavailable, StoreDamaged)):
        call()


def test_large_body_reset_in_the_middle(proxied: MinioStore, proxy: Any) -> None:
    data = bytes(range(256)) * 20_000
    proxied.put("large", data)
    proxy.once("GET", proxy.cut(1_000_000, reset=True), proxy.cut(4_000_000))
    assert proxied.get("large") == data


def test_range_that_the_server_cuts_or_ignores(proxied: MinioStore, proxy: Any) -> None:
    proxied.put("o", b"12345678")
    proxy.once("GET", proxy.shortened(2), proxy.whole_object)
    assert proxied.get_range("o", 2, 4) == b"3456"
    for lie in (proxy.shortened(2), proxy.whole_object):
        proxy.always["GET"] = lie
        with pytest.raises(StoreDamaged):
            proxied.get_range("o", 2, 4)


def test_listing_answered_by_a_page_of_html(proxied: MinioStore, proxy: Any) -> None:
    proxied.put("o", b"")
    proxy.once("GET", proxy.page_of_html)
    assert [info.key for info in proxied.list("")] == ["o"]
    proxy.always["GET"] = proxy.page_of_html
    with pytest.raises(StoreDamaged, match="XML"):
        list(proxied.list(""))


def test_failed_answers_leave_no_connection_behind(proxied_settings: StoreSettings, proxy: Any) -> None:
    """One connection in all: were one kept by a failed answer, or its rest read as the next, this would stand still."""
    alone = open_store(proxied_settings.model_copy(update={"pool_size": 1}))
    alone.put("o", b"12345678")
    for _ in range(3):
        proxy.once("GET", proxy.cut(3), proxy.cut(3, reset=True), proxy.status(503))
        assert alone.get("o") == b"12345678"
        proxy.once("GET", proxy.whole_object, proxy.shortened(1))
        assert alone.get_range("o", 2, 4) == b"3456"


@pytest.mark.parametrize("field", ["access_key", "secret_key"])
def test_wrong_credentials_are_refused_at_once(proxied_settings: StoreSettings, proxy: Any, field: str) -> None:
    wrong = proxied_settings.model_copy(update={field: SecretStr("f" * 24)})
    with pytest.raises(StoreRefused) as told:
        open_store(wrong)
    assert len(proxy.seen) == 1, "no retry cures it"
    assert wrong.secret_key.get_secret_value() not in str(told.value)
    with pytest.raises(StoreRefused):
        MinioStore(wrong).get(KEY)


def test_no_server_at_all(proxied_settings: StoreSettings, unused_tcp_port: int) -> None:
    with pytest.raises(StoreUnavailable):
        open_store(proxied_settings.model_copy(update={"endpoint": f"127.0.0.1:{unused_tcp_port}"}))


def test_a_file_is_sent_again_from_its_beginning(
    proxied: MinioStore, proxy: Any, store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    proxy.once("PUT", proxy.request_lost, proxy.status(503, "SlowDown"))
    proxied.put_file(KEY, tmp_path / "file")
    assert _all(store) == {KEY: b"0123456789"}


def test_the_clock_is_the_store_s(proxied: MinioStore, proxy: Any) -> None:
    def late(exchange: Any) -> None:
        code, headers, body = exchange.forward()
        kept = [(name, value) for name, value in headers if name.lower() != "date"]
        exchange.answer((code, [*kept, ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")], body))

    proxy.once("HEAD", late)
    assert proxied.now() == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    proxy.once("HEAD", proxy.status(200))
    with pytest.raises(StoreRefused, match="does not tell its time"):
        proxied.now()
