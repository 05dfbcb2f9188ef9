"""Who may look: keys in cookies that reach the page alone, and posts of other sites that reach nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
import pytest

from synfarm.auth import Authenticator, KeyLimits, new_key
from synfarm.settings import AuthSettings
from synfarm_caption_api.web.visitor import safe_target

pytestmark = pytest.mark.integration


async def test_without_a_key_the_page_leads_to_its_sign_in_and_back(site: Any, open_page: Any) -> None:
    async with open_page(None) as page:
        answer = await page.get("/ui/workers?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in?next=/ui/workers%3Fx%3D1")
        form = await page.get(answer.headers["location"])
        assert 'name="next" value="/ui/workers?x=1"' in form.text
        wrong = await page.post("/ui/sign-in", data={"key": "sf_nobody", "next": "/ui/workers"})
        assert wrong.status_code == 401
        assert "This key is not known here." in wrong.text
        assert "set-cookie" not in wrong.headers
        right = await page.post("/ui/sign-in", data={"key": site.tokens["ada"], "next": "/ui/workers?x=1"})
        assert (right.status_code, right.headers["location"]) == (303, "/ui/workers?x=1")
        assert (await page.get("/ui/workers")).status_code == 200


async def test_the_cookie_is_for_the_page_alone(site: Any, open_page: Any) -> None:
    async with open_page(None) as page:
        answer = await page.post("/ui/sign-in", data={"key": site.tokens["ada"]})
        cookie = answer.headers["set-cookie"].lower()
        assert {"httponly", "samesite=strict", "path=/ui"} <= {part.strip() for part in cookie.split(";")}
        name, value = next(iter(page.cookies.items()))
        assert (await page.get("/v1/jobs", headers={"Cookie": f"{name}={value}"})).status_code == 401
        out = await page.post("/ui/sign-out")
        assert (out.status_code, len(page.cookies)) == (303, 0)
        assert (await page.get("/ui/")).status_code == 303


async def test_over_tls_the_cookie_is_secure(site: Any) -> None:
    transport = httpx.ASGITransport(site.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://farm:8443") as page:
        headers = {"Origin": "https://farm:8443"}
        answer = await page.post("/ui/sign-in", data={"key": site.tokens["ada"]}, headers=headers)
    assert answer.status_code == 303
    assert "synfarm-key-8443=" in answer.headers["set-cookie"]
    assert "Secure" in answer.headers["set-cookie"]


async def test_behind_a_proxy_that_speaks_tls_the_cookie_is_secure(site: Any) -> None:
    transport = httpx.ASGITransport(site.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://farm.example") as page:
        for origin, is_secure in (("https://farm.example", True), ("http://farm.example", False)):
            headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
            answer = await page.post("/ui/sign-in", data={"key": site.tokens["ada"]}, headers=headers)
            assert ("Secure" in answer.headers["set-cookie"]) is is_secure


_SENDERS: list[tuple[dict[str, str], int]] = [
    ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site", "Origin": "http://test"}, 403),
    ({"Sec-Fetch-Site": "none"}, 403),
    ({"Sec-Fetch-Site": "", "Origin": "http://test"}, 403),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://test"}, 200),
    ({}, 403),
]


async def test_only_the_pages_own_forms_change_anything(site: Any) -> None:
    site.app.state.authenticate = Authenticator(AuthSettings(), [])  # no cookie protects a server without keys
    transport = httpx.ASGITransport(site.app)
    form = {"concepts": "dog", "captions": "8", "action": "plan"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as page:
        for headers, status in _SENDERS:
            answer = await page.post("/ui/jobs/new", data=form, headers=headers)
            assert answer.status_code == status, headers


async def test_no_post_of_the_page_forgets_the_check(site: Any) -> None:
    transport = httpx.ASGITransport(site.app)
    mount = next(route for route in site.app.routes if getattr(route, "path", "") == "/ui")
    posts = [path for path, methods in mount.app.openapi()["paths"].items() if "post" in methods]
    assert len(posts) >= 6
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as page:
        for path in posts:
            address = "/ui" + path.format(job="x", run="x", signal="pause" if "jobs" in path else "stop")
            answer = await page.post(address, headers={"Sec-Fetch-Site": "cross-site"})
            assert answer.json()["code"] == "cross_site", address


async def test_a_link_of_another_site_asks_again_by_itself(open_page: Any) -> None:
    async with open_page(None) as page:
        first = await page.get("/ui/workers", headers={"Sec-Fetch-Site": "cross-site"})
        assert (first.status_code, 'content="0; url=/ui/workers"' in first.text) == (200, True)
        assert (await page.get("/ui/workers", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 303


async def test_a_server_without_keys_asks_for_none(site: Any, open_page: Any) -> None:
    site.app.state.authenticate = Authenticator(AuthSettings(), [])
    async with open_page(None) as page:
        first = await page.get("/ui/")
        assert (first.status_code, "Sign out" in first.text) == (200, False)
        assert (await page.get("/ui/sign-in")).headers["location"] == "/ui/"


async def test_others_jobs_do_not_exist(site: Any, open_page: Any) -> None:
    async with site.client("bob") as bob:
        job = (await bob.post("/v1/jobs", json={"concepts": ["dog"], "captions": 8})).json()["job"]
    async with open_page("ada") as page:
        assert job not in (await page.get("/ui/")).text
        for path in ("", "/live", "/gallery", "/failures", f"/samples/{job}-0000000000", f"/images/{job}-0000000000/0"):
            assert (await page.get(f"/ui/jobs/{job}{path}")).status_code == 404, path
        assert (await page.post(f"/ui/jobs/{job}/signal/cancel")).status_code == 404
        assert (await page.get(f"/ui/jobs/{job}/events")).status_code == 404
    async with open_page("root") as page:
        assert f"/ui/jobs/{job}" in (await page.get("/ui/")).text


_POSTS: list[tuple[str, dict[str, str]]] = [
    ("/ui/jobs/new", {"concepts": "dog", "captions": "8", "action": "plan"}),
    ("/ui/jobs/new", {"concepts": "dog", "captions": "8", "action": "try"}),
    ("/ui/jobs/{job}/signal/pause", {}),
    ("/ui/jobs/{job}/extend", {"captions": "16"}),
]


@pytest.mark.parametrize(("address", "form"), _POSTS)
async def test_what_changes_anything_counts_as_a_request_of_the_key(
    site: Any, open_page: Any, address: str, form: dict[str, str]
) -> None:
    async with site.client() as client:
        job = (await client.post("/v1/jobs", json={"concepts": ["dog"], "captions": 8})).json()["job"]
    key, record = new_key("ada")
    limits = KeyLimits(requests_per_second=0.01, burst=2)
    site.tokens["ada"] = key
    site.app.state.authenticate = Authenticator(AuthSettings(), [record.model_copy(update={"limits": limits})])
    async with open_page() as page:
        for _ in range(5):
            assert (await page.get("/ui/")).status_code == 200, "looking is free"
        assert (await page.post(address.format(job=job), data=form)).status_code != 429
        async with site.client() as client:
            assert (await client.get("/v1/jobs")).status_code == 200, "the same bucket as the API's"
        refused = await page.post(address.format(job=job), data=form)
        assert (await page.post("/ui/sign-out")).status_code == 303
    assert (refused.status_code, refused.headers["content-type"]) == (429, "text/html; charset=utf-8")
    wait = int(refused.headers["retry-after"])
    assert 60 < wait <= 100
    assert f"The next request is taken in {wait} s" in refused.text
    assert "This key may send 0.01 requests a second" in refused.text
    assert "press the button again" in refused.text
    assert "/v1/" not in refused.text


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/ui/jobs/x?cursor=1", "/ui/jobs/x?cursor=1"),
        ("https://evil.example/ui/", "/ui/"),
        ("//evil.example", "/ui/"),
        ("/ui//evil.example", "/ui/"),
        ("/ui/\\evil.example", "/ui/"),
        ("/v1/jobs", "/ui/"),
        (None, "/ui/"),
    ],
)
def test_a_sign_in_leads_to_this_page_alone(wanted: str | None, target: str) -> None:
    assert safe_target(wanted) == target


def test_the_key_is_not_shown_in_logs() -> None:
    from synfarm.auth import Principal
    from synfarm_caption_api.web.visitor import Visitor

    visitor = Visitor(Principal(owner="ada", role="user"), "Bearer sf_secret")
    assert "secret" not in repr(visitor)
    assert dataclasses.asdict(visitor)["authorization"] == "Bearer sf_secret"
